# SPDX-License-Identifier: Apache-2.0
"""boto3 against `podlab serve` as a SageMaker endpoint: sagemaker_client.py URL ENDPOINT. Keys come from the environment.

Prints one `ok NAME` or `FAIL NAME` per check, then `N passed, M failed`.
"""

import json
import sys

import boto3
import botocore.exceptions
from botocore.config import Config

url, endpoint = sys.argv[1], sys.argv[2]
passed = failed = 0


def check(name, good, note=""):
    global passed, failed
    passed, failed = passed + bool(good), failed + (not good)
    print("ok  " if good else "FAIL", name, note, flush=True)


def client(**keys):
    retries = {"max_attempts": 1, "mode": "standard"}
    return boto3.client("sagemaker-runtime", endpoint_url=url, region_name="us-east-2", config=Config(retries=retries), **keys)


def refused(call):
    try:
        call()
    except botocore.exceptions.ClientError as error:
        return error.response
    return None


runtime = client()
ask = {"messages": [{"role": "user", "content": "hello"}], "max_tokens": 5}
answer = runtime.invoke_endpoint(EndpointName=endpoint, ContentType="application/json", Body=json.dumps(ask))
body = json.loads(answer["Body"].read())
check("invoke_endpoint answers", body["usage"]["completion_tokens"] == 5, body)
check("it names the variant", answer["InvokedProductionVariant"] == "AllTraffic")
check("it has a request id", len(answer["ResponseMetadata"]["RequestId"]) == 36)
check("the content type is the container's", answer["ContentType"].startswith("application/json"))

ask = {**ask, "stream": True, "stream_options": {"include_usage": True}}
answer = runtime.invoke_endpoint_with_response_stream(
    EndpointName=endpoint, ContentType="application/json", Body=json.dumps(ask)
)
check("the stream says its content type", answer["ContentType"].startswith("text/event-stream"), answer["ContentType"])
parts = [event["PayloadPart"]["Bytes"] for event in answer["Body"]]
check("it comes in parts", len(parts) >= 5, len(parts))
events = [line[6:] for line in b"".join(parts).decode().split("\n\n") if line]
check("the stream ends", events[-1] == "[DONE]")
check("all tokens came", json.loads(events[-2])["usage"]["completion_tokens"] == 5)

error = refused(lambda: runtime.invoke_endpoint(EndpointName=endpoint, Body=json.dumps({"nothing": 1})))
check("what the model refuses is a ModelError", error and error["Error"]["Code"] == "ModelError", error)
check("with its status", error and error["OriginalStatusCode"] == 400, error)
check("and its words", error and "messages" in error["OriginalMessage"], error)
error = refused(lambda: runtime.invoke_endpoint(EndpointName="another", Body=b"{}"))
check("another endpoint is a ValidationError", error and error["Error"]["Code"] == "ValidationError", error)
check("and says which there are", error and endpoint in error["Error"]["Message"], error)

# SageMaker passes on no header that it does not know: a session named in one does not reach the workers, one in the body does.
def worker(headers, fields):
    raw = client()
    raw.meta.events.register("before-sign.sagemaker-runtime.*", lambda request, **_: [request.headers.add_header(*h) for h in headers])
    body = json.dumps({"messages": ask["messages"], "max_tokens": 1, **fields})
    answer = raw.invoke_endpoint(EndpointName=endpoint, ContentType="application/json", Body=body)
    return answer["ResponseMetadata"]["HTTPHeaders"]["x-podlab-worker"]


by_body = {worker([], {"user_id": "alice"}) for _ in range(6)}
by_header = {worker([("x-user-id", "alice")], {}) for _ in range(6)}
check("a session in the body keeps its worker", len(by_body) == 1, by_body)
check("a session in an unknown header does not", len(by_header) > 1, by_header)

for name, keys, code in [
    ("a wrong secret", {"aws_access_key_id": "AKIDPODLAB", "aws_secret_access_key": "wrong"}, "InvalidSignatureException"),
    ("a wrong key", {"aws_access_key_id": "AKIDOTHER", "aws_secret_access_key": "x"}, "UnrecognizedClientException"),
    (
        "a token of nobody",
        {"aws_access_key_id": "AKIDPODLAB", "aws_secret_access_key": "secret", "aws_session_token": "t"},
        "UnrecognizedClientException",
    ),
]:
    error = refused(lambda: client(**keys).invoke_endpoint(EndpointName=endpoint, Body=json.dumps(ask)))
    check(f"{name} is refused", error and error["Error"]["Code"] == code, error)
    check(f"{name} gets a 403", error and error["ResponseMetadata"]["HTTPStatusCode"] == 403, error)
print(f"{passed} passed, {failed} failed")
sys.exit(failed > 0)
