# SPDX-License-Identifier: Apache-2.0
"""The real `openai` client against a server: python openai_client.py http://127.0.0.1:8000 [MODEL]

Prints a line per check and at last `N passed, N failed`; exits 1 where one failed.
"""

import json
import sys
import urllib.error
import urllib.request

import openai

BASE = sys.argv[1].rstrip("/")
# A retry would hide an error, and count as another request.
CLIENT = openai.OpenAI(base_url=f"{BASE}/v1", api_key="unused", max_retries=0, timeout=30)
MODEL = sys.argv[2] if len(sys.argv) > 2 else CLIENT.models.list().data[0].id
USER = [{"role": "user", "content": "Tell me about prefix caching."}]

checks = []


def check(function):
    checks.append(function)
    return function


def chat(**fields):
    return CLIENT.chat.completions.create(**{"model": MODEL, "messages": USER, "max_tokens": 8, **fields})


def complete(**fields):
    return CLIENT.completions.create(**{"model": MODEL, "prompt": "Once upon a time", "max_tokens": 8, **fields})


def refused(error_class, status, call):
    try:
        call()
    except error_class as error:
        assert error.status_code == status, error
        assert error.body["message"] and error.body["code"] == status, error.body
        return error
    raise AssertionError(f"expected {error_class.__name__}")


@check
def models_list():
    assert MODEL in [model.id for model in CLIENT.models.list()]


@check
def chat_whole():
    reply = chat()
    choice = reply.choices[0]
    assert reply.object == "chat.completion" and reply.model == MODEL
    assert choice.message.role == "assistant" and len(choice.message.content.split()) == 8
    assert choice.finish_reason == "length"
    assert reply.usage.completion_tokens == 8
    assert reply.usage.total_tokens == reply.usage.prompt_tokens + 8
    assert reply.usage.prompt_tokens_details.cached_tokens is not None


@check
def chat_stream():
    chunks = list(chat(stream=True))
    assert chunks[0].choices[0].delta.role == "assistant" and chunks[0].choices[0].delta.content == ""
    words = [chunk.choices[0].delta.content for chunk in chunks[1:]]
    assert len(words) == 8 and all(words), words
    assert [chunk.choices[0].finish_reason for chunk in chunks] == [None] * 8 + ["length"]
    assert all(chunk.usage is None for chunk in chunks)
    assert len({chunk.id for chunk in chunks}) == 1


@check
def chat_stream_with_usage():
    *chunks, last = chat(stream=True, stream_options={"include_usage": True})
    assert all(chunk.choices for chunk in chunks) and last.choices == []
    assert last.usage.completion_tokens == 8
    assert last.usage.prompt_tokens_details.cached_tokens is not None


@check
def chat_several():
    reply = chat(n=3, max_completion_tokens=5, max_tokens=openai.NOT_GIVEN)
    assert [choice.index for choice in reply.choices] == [0, 1, 2]
    assert reply.usage.completion_tokens == 15


@check
def chat_parts_and_parameters():
    messages = [{"role": "system", "content": "Be brief."},
                {"role": "user", "content": [{"type": "text", "text": "Hello"}]}]
    reply = chat(messages=messages, temperature=0.7, top_p=0.9, seed=1, stop=["\n"], user="u",
                 extra_body={"ignore_eos": True, "user_id": "session_1"})
    assert len(reply.choices[0].message.content.split()) == 8


@check
def completion_whole():
    reply = complete()
    assert reply.object == "text_completion" and len(reply.choices[0].text.split()) == 8
    assert reply.choices[0].finish_reason == "length"
    assert reply.usage.prompt_tokens > 0


@check
def completion_defaults_to_16_tokens():
    assert complete(max_tokens=openai.NOT_GIVEN).usage.completion_tokens == 16


@check
def completion_stream_with_usage():
    *chunks, last = complete(stream=True, stream_options={"include_usage": True})
    assert len(chunks) == 8 and all(chunk.choices[0].text for chunk in chunks)
    assert chunks[-1].choices[0].finish_reason == "length"
    assert last.choices == [] and last.usage.completion_tokens == 8


@check
def completion_of_several_prompts_and_of_token_ids():
    assert len(complete(prompt=["one", "two"], n=2).choices) == 4
    assert complete(prompt=[1, 2, 3, 4, 5]).usage.prompt_tokens == 5


@check
def second_reply_reports_cached_tokens():
    prompt = "A document that is read twice. " * 60
    cached = []
    for _ in range(16):  # a router in turn may take every worker once before it comes back
        usage = complete(prompt=prompt).usage
        cached.append(usage.prompt_tokens_details.cached_tokens)
    # Nothing at first; from another worker whole chunks of 256, through L2; from its own device whole blocks of 16.
    blocks = (usage.prompt_tokens - 1) // 16 * 16
    assert cached[0] == 0 and cached[-1] == blocks, cached
    assert all(tokens in (0, usage.prompt_tokens // 256 * 256, blocks) for tokens in cached), cached


@check
def stream_closed_early():
    with chat(stream=True, max_tokens=500) as stream:
        next(iter(stream))
    assert chat().usage.completion_tokens == 8


@check
def unknown_model():
    error = refused(openai.NotFoundError, 404, lambda: chat(model="no-such-model"))
    assert error.param == "model" and error.type == "NotFoundError"


@check
def too_long():
    error = refused(openai.BadRequestError, 400, lambda: complete(max_tokens=100_000_000))
    assert "maximum context length" in error.body["message"]


@check
def unsupported():
    assert refused(openai.BadRequestError, 400, lambda: chat(logprobs=True)).param == "logprobs"
    assert refused(openai.BadRequestError, 400, lambda: complete(echo=True)).param == "echo"


@check
def wrong_values():
    refused(openai.BadRequestError, 400, lambda: chat(messages=[]))
    refused(openai.BadRequestError, 400, lambda: complete(prompt=""))
    refused(openai.BadRequestError, 400, lambda: complete(max_tokens=0))


@check
def unknown_path():
    refused(openai.NotFoundError, 404, lambda: CLIENT.embeddings.create(model=MODEL, input="x", encoding_format="float"))


@check
def broken_json():
    request = urllib.request.Request(f"{BASE}/v1/completions", b'{"prompt":', {"content-type": "application/json"})
    try:
        urllib.request.urlopen(request, timeout=30)
        raise AssertionError("expected an error")
    except urllib.error.HTTPError as error:
        assert error.code == 400 and json.load(error)["error"]["type"] == "BadRequestError"


@check
def health():
    assert urllib.request.urlopen(f"{BASE}/health", timeout=30).status == 200


def main():
    failed = 0
    for function in checks:
        try:
            function()
            print(f"ok      {function.__name__}")
        except Exception as error:  # noqa: BLE001: whatever goes wrong, the next check runs
            failed += 1
            print(f"FAILED  {function.__name__}: {type(error).__name__}: {error}")
    print(f"{len(checks) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
