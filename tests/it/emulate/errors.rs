//! Every wrong request has its answer: status, type, field and words; never a 5xx, never a panic.

use super::raw::{Call, call};
use super::world::server;
use serde_json::{Value, json};
use std::net::SocketAddr;

async fn check(address: SocketAddr, path: &str, body: &str, status: u16, param: Value, message: &str) {
    let response = call(address, "POST", path, body).await;
    let error = response.json()["error"].take();
    let shown: String = body.chars().take(200).collect();
    assert_eq!(response.status, status, "{path} {shown}: {error}");
    let kind = if status == 404 { "NotFoundError" } else { "BadRequestError" };
    assert_eq!(error, json!({"message": message, "type": kind, "param": param, "code": status}), "{path} {shown}");
}

/// The answer to a field that no emulated model can serve.
fn unsupported(name: &str) -> String {
    format!("`{name}` is not supported by an emulated model.")
}

#[tokio::test]
async fn wrong_prompts() {
    let server = server(20.0);
    let (required, empty) = ("`prompt` is required.", "`prompt` must not be empty.");
    let table = [
        (json!({}), required),
        (json!({"prompt": null}), required),
        (json!({"prompt": ""}), empty),
        (json!({"prompt": []}), empty),
        (json!({"prompt": ["a", ""]}), empty),
        (json!({"prompt": [[]]}), empty),
        (json!({"prompt": 5}), "`prompt` must be a string or an array, got 5."),
        (json!({"prompt": [{}]}), "`prompt` must be an array of strings or of token ids, got an object."),
        (json!({"prompt": [1, -1]}), "`prompt` must be token ids, whole numbers from 0, got -1."),
    ];
    for (body, message) in table {
        check(server.address(), "/v1/completions", &body.to_string(), 400, json!("prompt"), message).await;
    }
    let message = "The request body must be a JSON object.";
    check(server.address(), "/v1/completions", "[1]", 400, Value::Null, message).await;
    for body in [json!({"messages": [], "prompt": "x"}), json!({})] {
        let message = "The request body must have either `messages` or `prompt`.";
        check(server.address(), "/invocations", &body.to_string(), 400, Value::Null, message).await;
    }
    server.stop().unwrap();
}

#[tokio::test]
async fn wrong_values() {
    let server = server(20.0);
    let whole = |name: &str, found: &str| format!("`{name}` must be a whole number from 1 to 4294967295, got {found}.");
    let table = [
        ("model", json!(7), "`model` must be a string, got 7.".to_owned()),
        ("max_tokens", json!(0), whole("max_tokens", "0")),
        ("max_tokens", json!(-4), whole("max_tokens", "-4")),
        ("max_tokens", json!(1e30), whole("max_tokens", "1e+30")),
        ("max_tokens", json!("9"), whole("max_tokens", "a string")),
        ("n", json!(129), "`n` must be a whole number from 1 to 128, got 129.".to_owned()),
        ("stream", json!("yes"), "`stream` must be true or false, got a string.".to_owned()),
        ("stream_options", json!({}), "Stream options can only be defined when `stream=True`.".to_owned()),
        ("stream_options", json!([]), "`stream_options` must be an object, got an array.".to_owned()),
        ("temperature", json!(-1), "`temperature` must be a number from 0 to 100, got -1.".to_owned()),
        ("top_p", json!(2), "`top_p` must be a number from 0 to 1, got 2.".to_owned()),
        ("seed", json!(1.5), "`seed` must be a whole number, got 1.5.".to_owned()),
        ("logprobs", json!(0), unsupported("logprobs")),
        ("echo", json!(true), unsupported("echo")),
        ("best_of", json!(3), unsupported("best_of")),
        ("stop", json!("the"), unsupported("stop")),
        ("stop", json!(["\n", 4]), unsupported("stop")),
    ];
    for (name, value, message) in table {
        let body = json!({"prompt": "x", name: value}).to_string();
        check(server.address(), "/v1/completions", &body, 400, json!(name), &message).await;
    }
    let message = "At most 128 replies to one request are supported.";
    let body = json!({"prompt": ["x", "y"], "n": 65}).to_string();
    check(server.address(), "/v1/completions", &body, 400, json!("n"), message).await;
    let body = json!({"prompt": "x", "model": "other"}).to_string();
    let message = "The model `other` does not exist.";
    check(server.address(), "/v1/completions", &body, 404, json!("model"), message).await;
    server.stop().unwrap();
}

/// A wish beyond the context length is refused with both numbers; a default gives way.
#[tokio::test]
async fn too_long() {
    let server = server(20.0);
    let message = "This model's maximum context length is 4096 tokens. However, you requested 4097 tokens (prompt and \
                   completion together). Please reduce the length of the prompt or completion.";
    for body in [json!({"prompt": "x".repeat(4 * 4096)}), json!({"prompt": "x", "max_tokens": 4096})] {
        check(server.address(), "/v1/completions", &body.to_string(), 400, Value::Null, message).await;
    }
    let fits = json!({"prompt": "x".repeat(4 * 4095)}).to_string();
    let response = call(server.address(), "POST", "/v1/completions", &fits).await;
    assert_eq!((response.status, &response.json()["usage"]["completion_tokens"]), (200, &json!(1)));
    server.stop().unwrap();
}

/// What changes nothing is taken.
#[tokio::test]
async fn harmless_fields() {
    let server = server(20.0);
    let body = json!({
        "prompt": "x", "stop": ["\n", "."], "temperature": 0.7, "tools": [], "logprobs": null, "n": 1, "user": "u",
        "ignore_eos": true, "best_of": 1, "echo": false, "seed": -1, "model": "toy", "no_such_field": [{}],
    });
    assert_eq!(call(server.address(), "POST", "/v1/completions", &body.to_string()).await.status, 200);
    server.stop().unwrap();
}

#[tokio::test]
async fn wrong_chats() {
    let server = server(20.0);
    let image = json!([{"type": "image_url", "image_url": {"url": "http://x"}}]);
    let messages = [
        (json!(null), "messages", "`messages` is required."),
        (json!([]), "messages", "`messages` must not be empty."),
        (json!("x"), "messages", "`messages` must be an array of messages, got a string."),
        (json!([1]), "messages[0]", "`messages[0]` must be an object, got 1."),
        (json!([{"content": "x"}]), "messages[0]", "`messages[0].role` must be a string that is not empty."),
        (
            json!([{"role": "user", "content": 1}]),
            "messages[0].content",
            "`messages[0].content` must be a string or an array of parts, got 1.",
        ),
        (
            json!([{"role": "user", "content": image}]),
            "messages[0].content",
            "`messages[0].content` may have parts of type \"text\" only.",
        ),
    ];
    for (messages, param, message) in messages {
        let body = json!({"messages": messages}).to_string();
        check(server.address(), "/v1/chat/completions", &body, 400, json!(param), message).await;
    }
    let fields = [
        ("logprobs", json!(true), unsupported("logprobs")),
        ("tools", json!([{"type": "function"}]), unsupported("tools")),
        ("response_format", json!({"type": "json_object"}), unsupported("response_format")),
        (
            "max_completion_tokens",
            json!(0),
            "`max_completion_tokens` must be a whole number from 1 to 4294967295, got 0.".to_owned(),
        ),
    ];
    for (name, value, message) in fields {
        let body = json!({"messages": [{"role": "user", "content": "x"}], name: value}).to_string();
        check(server.address(), "/v1/chat/completions", &body, 400, json!(name), &message).await;
    }
    server.stop().unwrap();
}

/// No cut, no broken byte and no depth of a body brings anything but a 400.
#[tokio::test]
async fn broken_json() {
    let server = server(20.0);
    let whole = json!({"prompt": "hello \u{1f600}", "max_tokens": 1, "stream": false}).to_string();
    for cut in (0..whole.len()).filter(|cut| whole.is_char_boundary(*cut)) {
        let response = call(server.address(), "POST", "/v1/completions", &whole[..cut]).await;
        assert_eq!(response.status, 400, "{}", &whole[..cut]);
        assert!(
            response.json()["error"]["message"].as_str().unwrap().starts_with("The request body is not valid JSON: ")
        );
    }
    let deep = "[".repeat(100_000);
    assert_eq!(call(server.address(), "POST", "/v1/completions", &deep).await.status, 400);
    let head = "POST /v1/completions HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 14\r\n\r\n";
    let bytes = [head.as_bytes(), b"{\"prompt\":\"\xff\"}"].concat();
    assert_eq!(Call::open(server.address(), &bytes).await.response().await.status, 400);
    server.stop().unwrap();
}

#[tokio::test]
async fn wrong_paths_methods_and_sizes() {
    let server = server(20.0);
    let table = [
        ("GET", "/", 404, "NotFoundError", "There is no path / here."),
        ("POST", "/v1/embeddings", 404, "NotFoundError", "There is no path /v1/embeddings here."),
        ("GET", "/v1/completions", 405, "MethodNotAllowedError", "/v1/completions does not take GET."),
        ("POST", "/health", 405, "MethodNotAllowedError", "/health does not take POST."),
    ];
    for (method, path, status, kind, message) in table {
        let response = call(server.address(), method, path, "").await;
        assert_eq!(response.status, status, "{method} {path}");
        assert_eq!(
            response.json(),
            json!({"error": {"message": message, "type": kind, "param": null, "code": status}})
        );
    }
    // Announced, so it is answered before any of it came; and in chunks, where the length shows only as it comes.
    let announced = "POST /v1/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 4194305\r\n\r\n";
    let chunked = "POST /v1/completions HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n";
    let chunks = format!("{chunked}{}", format!("100000\r\n{}\r\n", " ".repeat(1 << 20)).repeat(5));
    for bytes in [announced, &chunks] {
        let response = Call::open(server.address(), bytes.as_bytes()).await.response().await;
        let error = &response.json()["error"];
        assert_eq!((response.status, &error["type"]), (413, &json!("PayloadTooLargeError")));
        assert_eq!(error["message"], json!("The request body is larger than 4194304 bytes."));
    }
    for path in ["/health", "/ping"] {
        assert_eq!(call(server.address(), "GET", path, "").await.status, 200);
    }
    server.stop().unwrap();
}
