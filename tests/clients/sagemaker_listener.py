"""SageMaker's runtime API, played by somebody who did not write podlab.

serve: listens on a free port and prints it; recomputes each request's signature with botocore, answers what is signed wrongly
with InvalidSignatureException, and writes its event stream in pieces of a few bytes.
invoke URL: what boto3 makes of the same listener, streamed and at once, as one line.
"""

import json
import re
import sys
import zlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import boto3
import botocore.auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials

KEY, SECRET, TOKEN, REGION = "AKIDEXAMPLE", "secret/with+signs=", "a/session+token==", "us-east-2"
WORDS = ["Hel", "lo, ", "w\u00f6rld"]


def frame(headers, payload):
    head = b"".join(
        bytes([len(name)]) + name.encode() + b"\x07" + len(value).to_bytes(2, "big") + value.encode()
        for name, value in headers
    )
    prelude = (16 + len(head) + len(payload)).to_bytes(4, "big") + len(head).to_bytes(4, "big")
    body = prelude + zlib.crc32(prelude).to_bytes(4, "big") + head + payload
    return body + zlib.crc32(body).to_bytes(4, "big")


def stream():
    events = [{"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]}]
    events += [{"choices": [{"index": 0, "delta": {"content": word}}]} for word in WORDS]
    usage = {"prompt_tokens": 12, "completion_tokens": 3, "prompt_tokens_details": {"cached_tokens": 8}}
    events.append({"choices": [], "usage": usage})
    text = "".join(f"data: {json.dumps(event)}\n\n" for event in events) + "data: [DONE]\n\n"
    raw = text.encode()
    part = [(":event-type", "PayloadPart"), (":content-type", "application/octet-stream"), (":message-type", "event")]
    return b"".join(frame(part, raw[at : at + 7]) for at in range(0, len(raw), 7))


class Moment:
    """botocore signs with the present; the check is of the moment that the request names."""

    def __init__(self, value):
        self.value = value

    def check(self, handler, body):
        said = handler.headers["authorization"] or ""
        found = re.fullmatch(
            r"AWS4-HMAC-SHA256 Credential=([^/]+)/(\d{8})/([^/]+)/sagemaker/aws4_request, "
            r"SignedHeaders=([^,]+), Signature=([0-9a-f]{64})",
            said,
        )
        if not found or found[1] != KEY or found[3] != REGION or not self.value.startswith(found[2]):
            return False
        names = found[4].split(";")
        if not {"host", "x-amz-date", "content-type"} <= set(names):
            return False
        url = f"http://{handler.headers['host']}{handler.path}"
        headers = {name: handler.headers[name] for name in names if name != "host"}
        request = AWSRequest(method="POST", url=url, data=body, headers=headers)
        request.context["timestamp"] = self.value
        signer = botocore.auth.SigV4Auth(Credentials(KEY, SECRET), "sagemaker", REGION)
        text = signer.string_to_sign(request, signer.canonical_request(request))
        return signer.signature(text, request) == found[5] and handler.headers["x-amz-security-token"] == TOKEN


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        if not Moment(self.headers["x-amz-date"] or "").check(self, body):
            return self.whole(403, {"Message": "not the signature"}, ("x-amzn-errortype", "InvalidSignatureException"))
        if self.path.endswith("/invocations"):
            message = {"message": {"content": "".join(WORDS)}}
            usage = {"prompt_tokens": 12, "completion_tokens": 3, "prompt_tokens_details": {"cached_tokens": 8}}
            return self.whole(200, {"choices": [message], "usage": usage})
        self.send_response(200)
        self.send_header("content-type", "application/vnd.amazon.eventstream")
        self.send_header("x-amzn-sagemaker-content-type", "text/event-stream")
        self.send_header("x-amzn-invoked-production-variant", "AllTraffic")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        raw = stream()
        for at in range(0, len(raw), 11):
            piece = raw[at : at + 11]
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
        self.wfile.write(b"0\r\n\r\n")

    def whole(self, status, value, *headers):
        body = json.dumps(value).encode()
        self.send_response(status)
        for name, text in (("content-type", "application/json"), ("content-length", str(len(body))), *headers):
            self.send_header(name, text)
        self.end_headers()
        self.wfile.write(body)


def invoke(url):
    client = boto3.client(
        "sagemaker-runtime",
        region_name=REGION,
        endpoint_url=url,
        aws_access_key_id=KEY,
        aws_secret_access_key=SECRET,
        aws_session_token=TOKEN,
        config=Config(retries={"max_attempts": 0}),
    )
    asked = {"EndpointName": "demo", "ContentType": "application/json"}
    body = json.dumps({"messages": [], "stream": True})
    reply = client.invoke_endpoint_with_response_stream(**asked, Body=body)
    raw = b"".join(part["PayloadPart"]["Bytes"] for part in reply["Body"]).decode()
    events = [json.loads(line[6:]) for line in raw.split("\n\n") if line.startswith("data: {")]
    text = "".join(choice["delta"].get("content", "") for event in events for choice in event["choices"])
    whole = json.load(client.invoke_endpoint(**asked, Body=json.dumps({"messages": []}))["Body"])
    print(
        json.dumps(
            {
                "text": text,
                "usage": events[-1]["usage"],
                "variant": reply["InvokedProductionVariant"],
                "whole": {"text": whole["choices"][0]["message"]["content"], "usage": whole["usage"]},
            }
        )
    )


if sys.argv[1] == "serve":
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    print(server.server_address[1], flush=True)
    server.serve_forever()
else:
    invoke(sys.argv[2])
