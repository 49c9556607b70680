//! Prompts without a tokenizer: equal ids, equal text; as many words as tokens were asked for.

use driver::bench::script::{Script, Shape};
use driver::bench::words::Words;
use kvcache::{SessionId, Time, Tokens};
use router::Api;
use serde_json::Value;
use sim::workload::{Pacing, Segment, Workload};

fn text(words: Words, id: u64, tokens: u32) -> String {
    let mut text = Vec::new();
    words.push(&mut text, id, tokens);
    String::from_utf8(text).expect("words are ASCII")
}

fn shape(api: Api) -> Shape {
    Shape { api, model: Some("m".to_owned()), max_tokens: None, streamed: true, ignore_eos: false, session_key: None }
}

#[test]
fn equal_ids_have_equal_texts_and_others_do_not() {
    let words = Words::unasked(5);
    assert_eq!(text(words, 1, 100), text(words, 1, 100));
    assert!(text(words, 1, 100).starts_with(&text(words, 1, 37)));
    let (one, other) = (text(words, 1, 100), text(words, 2, 100));
    let same = one.split(' ').zip(other.split(' ')).filter(|(a, b)| a == b).count();
    assert!(same < 10, "{same} of 100 words are the same");
    assert_ne!(text(words, 1, 100), text(Words::unasked(6), 1, 100), "another salt, another text");
}

#[test]
fn a_text_has_as_many_words_as_its_tokens_take() {
    for tokens in [1, 8, 9, 10, 1000] {
        assert_eq!(text(Words::unasked(0), 3, tokens).split_whitespace().count(), tokens as usize);
        // Four characters for a token: what the emulated endpoint counts.
        assert_eq!(text(Words::unasked(0), 3, tokens).len(), tokens as usize * 4);
    }
    let words = Words { salt: 0, per_token: 0.5, added: 0 };
    assert_eq!(text(words, 3, 100).split_whitespace().count(), 50);
}

fn script(api: Api) -> Script {
    let mut workload = Workload::new(Pacing::Open);
    let [system, question, again] =
        [(1, 20), (2, 10), (4, 10)].map(|(id, tokens)| Segment { id, tokens: Tokens(tokens) });
    let reply = Segment { id: 3, tokens: Tokens(6) };
    workload.push_with_reply(Time::ZERO, Some(SessionId(255)), &[system, question], reply);
    workload.push(Time::ZERO, Some(SessionId(255)), &[system, question, reply, again], Tokens(6));
    Script::new(
        workload,
        Words { salt: 1, per_token: 1.0, added: 4 },
        Shape { session_key: Some("user".to_owned()), ..shape(api) },
    )
}

/// A conversation's later turn contains what the model really said, in its role.
#[test]
fn replies_are_fed_back() {
    let script = script(Api::Chat);
    let body = |place, said: Option<&str>| -> Value {
        let body = script.body(place, |before| said.filter(|_| before == 0).map(str::to_owned));
        serde_json::from_slice(&body).expect("a body is JSON")
    };
    let first = body(0, None);
    assert_eq!(first["messages"].as_array().map(Vec::len), Some(1));
    assert_eq!((&first["max_tokens"], &first["model"], &first["user"]), (&6.into(), &"m".into(), &"sff".into()));
    assert_eq!(first["stream_options"]["include_usage"], true);
    let second = body(1, Some("It's \"so\"\n"));
    let roles: Vec<_> =
        second["messages"].as_array().into_iter().flatten().map(|message| message["role"].clone()).collect();
    assert_eq!(roles, ["user", "assistant", "user"]);
    assert_eq!(second["messages"][1]["content"], "It's \"so\"\n");
    let content = |body: &Value| body["messages"][0]["content"].as_str().unwrap_or_default().to_owned();
    // The last part alone makes room for what the server adds.
    assert_eq!(content(&first).split_whitespace().count(), 26);
    assert!(content(&second).starts_with(&content(&first)));
    assert_eq!(content(&second).split_whitespace().count(), 30);
    // Before there is a reply, words stand for it.
    let unanswered = body(1, None);
    assert_eq!(content(&unanswered).split_whitespace().count(), 42);
}

#[test]
fn a_completion_is_one_text() {
    let body: Value =
        serde_json::from_slice(&script(Api::Completions).body(1, |_| Some("so".to_owned()))).expect("JSON");
    let prompt = body["prompt"].as_str().unwrap_or_default();
    assert_eq!(prompt.split_whitespace().count(), 30 + 6 - 1 + 1);
    assert_eq!(body["messages"], Value::Null);
}
