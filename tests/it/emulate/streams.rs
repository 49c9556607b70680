//! The events of a stream, and the bodies without one, as vLLM's clients expect them.

use super::raw::{Call, post, request};
use super::world::{World, server};
use driver::emulate::{Settings, reply};
use kvcache::{Span, Tokens};
use router::Strategy;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

fn chunk(data: &str) -> Value {
    let mut chunk: Value = serde_json::from_str(data).expect("JSON");
    assert!(chunk["created"].as_u64() > Some(1_700_000_000));
    chunk.as_object_mut().and_then(|chunk| chunk.remove("created"));
    chunk
}

#[tokio::test]
async fn chat_events_are_vllms() {
    let server = server(20.0);
    let ask = json!({"model": "toy", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 3,
                     "stream": true, "stream_options": {"include_usage": true}, "unknown": {"field": 1}});
    let response = post(server.address(), "/v1/chat/completions", &ask).await;
    assert_eq!(response.header("content-type"), Some("text/event-stream; charset=utf-8"));
    let events = response.events();
    let words = reply::text(0, 0, Tokens(3));
    let words: Vec<&str> = words.split_inclusive(' ').skip(1).map(str::trim_end).collect();
    let event = |delta: Value, finish: Value| {
        json!({"id": "chatcmpl-0", "object": "chat.completion.chunk", "model": "toy",
               "choices": [{"index": 0, "delta": delta, "logprobs": null, "finish_reason": finish}]})
    };
    assert_eq!(chunk(&events[0]), event(json!({"role": "assistant", "content": ""}), Value::Null));
    assert_eq!(chunk(&events[1]), event(json!({"content": format!(" {}", words[0])}), Value::Null));
    assert_eq!(chunk(&events[2]), event(json!({"content": format!(" {}", words[1])}), Value::Null));
    assert_eq!(chunk(&events[3]), event(json!({"content": format!(" {}", words[2])}), json!("length")));
    let usage = json!({"prompt_tokens": 8, "total_tokens": 11, "completion_tokens": 3,
                       "prompt_tokens_details": {"cached_tokens": 0}});
    let mut last = chunk(&events[4]);
    let detail = last["usage"].as_object_mut().and_then(|usage| usage.remove("podlab")).expect("what podlab adds");
    assert_eq!(
        last,
        json!({"id": "chatcmpl-0", "object": "chat.completion.chunk", "model": "toy", "choices": [], "usage": usage})
    );
    assert_eq!(events[5..], ["[DONE]"]);
    assert_eq!(detail["cached_l0_tokens"], 0, "{detail}");
    for tier in ["l1", "l2"] {
        assert_eq!(detail[format!("cached_{tier}_tokens")], Value::Null, "there is no such tier: {detail}");
    }
    assert!(detail["ttft_compute_ms"].as_f64() > Some(0.0), "{detail}");
    assert_eq!((&detail["ttft_line_ms"], &detail["ttft_kv_wait_ms"]), (&json!(0.0), &json!(0.0)));
    server.stop().unwrap();
}

#[tokio::test]
async fn completion_events_are_vllms() {
    let server = server(20.0);
    let ask = json!({"prompt": "hello", "max_tokens": 2, "stream": true});
    let events = post(server.address(), "/v1/completions", &ask).await.events();
    let texts: Vec<Value> = events[..2].iter().map(|data| chunk(data)["choices"][0].take()).collect();
    let (mut first, mut second) = (String::new(), String::new());
    reply::push_word(&mut first, 0, 0, 0);
    reply::push_word(&mut second, 0, 0, 1);
    let choice = |text: &str, finish: Value| json!({"index": 0, "text": text, "logprobs": null, "finish_reason": finish, "stop_reason": null});
    assert_eq!(texts, [choice(&first, Value::Null), choice(&second, json!("length"))]);
    assert_eq!(events[2..], ["[DONE]"], "no usage where nobody asked for it");
    server.stop().unwrap();
}

#[tokio::test]
async fn whole_bodies() {
    let server = server(20.0);
    let ask = json!({"messages": [{"role": "user", "content": [{"type": "text", "text": "hello"}]}], "n": 2});
    let response = post(server.address(), "/invocations", &ask).await;
    let body = response.json();
    assert_eq!((response.status, &body["object"]), (200, &json!("chat.completion")));
    for index in 0..2 {
        let choice = &body["choices"][index];
        assert_eq!(choice["message"]["content"], json!(reply::text(0, index as u64, Tokens(128))));
        assert_eq!((&choice["index"], &choice["finish_reason"]), (&json!(index), &json!("length")));
    }
    assert_eq!((&body["usage"]["prompt_tokens"], &body["usage"]["completion_tokens"]), (&json!(8), &json!(256)));
    let ask = json!({"prompt": [[1, 2, 3], [4, 5]], "max_tokens": 1, "n": 2});
    let body = post(server.address(), "/invocations", &ask).await.json();
    assert_eq!((&body["object"], body["choices"].as_array().unwrap().len()), (&json!("text_completion"), 4));
    assert_eq!((&body["usage"]["prompt_tokens"], &body["usage"]["completion_tokens"]), (&json!(5), &json!(4)));
    let models = super::raw::call(server.address(), "GET", "/v1/models", "").await.json();
    assert_eq!((&models["data"][0]["id"], &models["data"][0]["max_model_len"]), (&json!("toy"), &json!(4096)));
    server.stop().unwrap();
}

/// All streams of one request are told, each in order.
#[tokio::test]
async fn several_replies_in_one_stream() {
    let server = server(20.0);
    let ask = json!({"prompt": ["one", "two"], "n": 2, "max_tokens": 20, "stream": true});
    let events = post(server.address(), "/v1/completions", &ask).await.events();
    let mut texts = [const { String::new() }; 4];
    for data in &events[..80] {
        let choice = chunk(data)["choices"][0].take();
        texts[choice["index"].as_u64().unwrap() as usize] += choice["text"].as_str().unwrap();
    }
    for (number, text) in texts.iter().enumerate() {
        assert_eq!(*text, reply::text(0, number as u64, Tokens(20)));
    }
    assert_eq!(events[80..], ["[DONE]"]);
    server.stop().unwrap();
}

/// Goal R14: a salt is a space of its own, whose blocks nobody else finds.
#[tokio::test]
async fn salts_share_nothing() {
    let server = World::new(1, Strategy::PrefixAware);
    let server = server.serve(server.settings());
    let cached = async |salt: Option<&str>| {
        let mut ask = json!({"prompt": "a long prompt ".repeat(40), "max_tokens": 1});
        if let Some(salt) = salt {
            ask["cache_salt"] = json!(salt);
        }
        let got = post(server.address(), "/v1/completions", &ask).await;
        let matched = got.header("x-podlab-matched-tokens").and_then(|text| text.parse::<u64>().ok());
        (
            got.json()["usage"]["prompt_tokens_details"]["cached_tokens"].as_u64().expect("always told"),
            matched > Some(0),
        )
    };
    for salt in [None, Some("a"), Some("b")] {
        assert_eq!(cached(salt).await, (0, false), "{salt:?}, first");
        assert_eq!(cached(salt).await, (128, true), "{salt:?}, again");
    }
    for odd in [json!(""), json!("a b"), json!(7), json!("x".repeat(129))] {
        let got = post(server.address(), "/v1/completions", &json!({"prompt": "a", "cache_salt": odd})).await;
        assert_eq!((got.status, got.json()["error"]["param"].as_str()), (400, Some("cache_salt")));
    }
    server.stop().unwrap();
}

/// A hit ends before the last token of the prompt, at the end of a block.
#[tokio::test]
async fn cached_tokens_are_told() {
    let world = World::new(1, Strategy::KvAware);
    let server = world.serve(world.settings());
    for characters in [4 * 15, 4 * 16, 4 * 16 + 1, 4 * 17, 1000, 4 * 512, 2500] {
        let tokens = usize::div_ceil(characters, 4);
        let letter = char::from(b'a' + (characters % 23) as u8);
        let ask = json!({"prompt": letter.to_string().repeat(characters), "max_tokens": 1});
        let cold = post(server.address(), "/v1/completions", &ask).await;
        let warm = post(server.address(), "/v1/completions", &ask).await;
        let usage = &warm.json()["usage"];
        let expected = (tokens - 1) / 16 * 16;
        assert_eq!(usage["prompt_tokens"], json!(tokens));
        assert_eq!(cold.json()["usage"]["prompt_tokens_details"]["cached_tokens"], json!(0));
        assert_eq!(usage["prompt_tokens_details"]["cached_tokens"], json!(expected), "{tokens} tokens");
        assert_eq!(warm.header("x-podlab-cached-tokens"), Some(expected.to_string().as_str()));
    }
    server.stop().unwrap();
}

#[tokio::test]
async fn headers_tell_where_a_request_went() {
    let server = server(20.0);
    for turn in 0..4 {
        let ask = json!({"prompt": "hello", "max_tokens": 1, "stream": turn > 1});
        let response = post(server.address(), "/v1/completions", &ask).await;
        assert_eq!(response.header("x-podlab-worker"), Some(if turn % 2 == 0 { "0" } else { "1" }));
        assert_eq!(response.header("x-podlab-strategy"), Some("roundrobin"));
        assert_eq!(response.header("x-podlab-reason"), Some("turn"));
        assert_eq!(response.header("x-request-id"), Some(format!("cmpl-{turn}").as_str()));
    }
    server.stop().unwrap();
}

/// What a strategy is named for it cannot always do.
#[tokio::test]
async fn headers_tell_why_a_strategy_did_something_else() {
    let world = World::new(2, Strategy::KvAware);
    let server = world.serve(world.settings());
    let ask = json!({"messages": [{"role": "user", "content": "hello"}], "max_tokens": 1});
    let response = post(server.address(), "/v1/chat/completions", &ask).await;
    assert_eq!(response.header("x-podlab-reason"), Some("lowest-qps"));
    assert_eq!(response.header("x-podlab-fallback"), Some("chat"));
    let ask = json!({"prompt": "hello", "max_tokens": 1});
    let response = post(server.address(), "/v1/completions", &ask).await;
    assert_eq!(response.header("x-podlab-fallback"), Some("no-holder"));
    server.stop().unwrap();
}

/// The session is found in the headers first, then in the body; the same one goes to the same worker.
#[tokio::test]
async fn sessions_stick() {
    let world = World::new(7, Strategy::Session);
    let server = world.serve(Settings { session_key: Some("user_id".to_owned()), ..world.settings() });
    let ask = |user: &str| json!({"prompt": "hello", "max_tokens": 1, "user_id": user}).to_string();
    let mut workers = Vec::new();
    for user in ["a", "b", "c", "d", "e", "f"] {
        let in_body = super::raw::call(server.address(), "POST", "/v1/completions", &ask(user)).await;
        let headers = format!("connection: close\r\nX-Session-Id: {user}\r\n");
        let bytes = request("POST", "/v1/completions", &headers, &ask("somebody else"));
        let in_head = Call::open(server.address(), bytes.as_bytes()).await.response().await;
        assert_eq!(in_body.header("x-podlab-worker"), in_head.header("x-podlab-worker"), "{user}");
        assert_eq!(in_body.header("x-podlab-reason"), Some("ring-of-session"));
        workers.push(in_body.header("x-podlab-worker").unwrap().to_owned());
    }
    workers.sort();
    workers.dedup();
    assert!(workers.len() > 1, "six sessions have more than one home");
    server.stop().unwrap();
}

/// 300 ms of latency and a pass of 200 ms and 100 tokens of 1 ms: no token before 600 ms, the second 201 ms later.
#[tokio::test]
async fn tokens_come_no_earlier_than_modelled() {
    let mut world = World::new(1, Strategy::RoundRobin);
    world.cost.pass = Span::from_millis(200);
    world.cost.token = Span::from_millis(1);
    world.cost.context = Span::ZERO;
    let server = world.serve(Settings { latency: Span::from_millis(300), ..world.settings() });
    let ask = json!({"prompt": "x".repeat(400), "max_tokens": 2, "stream": true});
    let sent = Instant::now();
    let mut call = Call::send(server.address(), "POST", "/v1/completions", &ask.to_string()).await;
    let first = call.wait_for("data: ").await.duration_since(sent);
    let last = call.wait_for("[DONE]").await.duration_since(sent);
    assert!(first >= Duration::from_millis(600) && last >= Duration::from_millis(801), "{first:?} {last:?}");
    assert!(first < Duration::from_millis(780), "{first:?}: nor a pass later");
    server.stop().unwrap();
}

/// Tokens are small writes 4 ms apart. With Nagle's algorithm the second one of a stream would wait for the
/// acknowledgement of the first, which a client's kernel delays by 40 ms on a connection that goes back and forth.
#[tokio::test]
async fn tokens_do_not_wait_for_acknowledgements() {
    let mut world = World::new(1, Strategy::RoundRobin);
    world.cost.pass = Span::from_millis(4);
    let server = world.serve(world.settings());
    let ask = json!({"prompt": "hello", "max_tokens": 20, "stream": true}).to_string();
    let ask = request("POST", "/v1/completions", "", &ask);
    let mut call = Call::open(server.address(), ask.as_bytes()).await;
    call.wait_for("[DONE]").await;
    let mut late = 0;
    for _ in 0..10 {
        call.send_more(ask.as_bytes()).await;
        let moments = call.arrivals_until("[DONE]").await;
        let longest = moments.windows(2).map(|pair| pair[1] - pair[0]).max();
        late += u32::from(longest > Some(Duration::from_millis(30)));
    }
    assert!(late < 5, "{late} of 10 streams paused for an acknowledgement");
    server.stop().unwrap();
}
