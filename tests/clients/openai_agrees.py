# SPDX-License-Identifier: Apache-2.0
"""What the real `openai` client hears: python openai_agrees.py http://127.0.0.1:8000 COUNT

COUNT streamed chats, a line of JSON each: the text, the usage, and what went wrong (class, status) or null.
"""

import json
import sys

import openai

# A retry would hide an error.
CLIENT = openai.OpenAI(base_url=f"{sys.argv[1]}/v1", api_key="unused", max_retries=0, timeout=30)


def chat():
    text, usage, error = "", None, None
    try:
        reply = CLIENT.chat.completions.create(
            model="mock",
            messages=[{"role": "user", "content": "Why is the sky blue?"}],
            max_tokens=4,
            stream=True,
            stream_options={"include_usage": True},
        )
        for chunk in reply:
            text += "".join(choice.delta.content or "" for choice in chunk.choices)
            usage = chunk.usage.model_dump() if chunk.usage else usage
    except openai.APIError as failed:
        error = {"class": type(failed).__name__, "status": getattr(failed, "status_code", None)}
    except Exception as failed:  # whatever else its transport raises
        error = {"class": type(failed).__name__, "status": None}
    return {"text": text, "usage": usage, "error": error}


for _ in range(int(sys.argv[2])):
    print(json.dumps(chat()))
