//! Text to tokens and back, and how replies end.

use worker::language::{Ending, Language, Message, Next, Speech, Spoken};

/// What a reply of these bytes adds to the text, byte by byte, and what was held back.
fn speak(text: &[u8], stops: &[&str]) -> (Vec<String>, String, Option<Ending>) {
    let mut speech = Speech::new(Language::bytes(), stops.iter().map(|&stop| stop.to_owned()).collect());
    let mut texts = Vec::new();
    for byte in text {
        let Spoken { text, end } = speech.say(u32::from(*byte));
        texts.push(text);
        if end.is_some() {
            return (texts, String::new(), end);
        }
    }
    (texts, speech.rest(), None)
}

#[test]
fn characters_come_whole() {
    let (texts, rest, _) = speak("né漢🙂".as_bytes(), &[]);
    assert_eq!(texts, ["n", "", "é", "", "", "漢", "", "", "", "🙂"]);
    assert_eq!(rest, "");
    let (texts, rest, _) = speak(b"a\xff\xe6b\xe6\xbc", &[]);
    assert_eq!((texts.concat(), rest.as_str()), ("a\u{fffd}\u{fffd}b".to_owned(), "\u{fffd}"));
}

#[test]
fn what_may_begin_a_stop_is_held_back() {
    let (texts, rest, end) = speak(b"one two", &["to", ""]);
    assert_eq!((texts.concat(), rest.as_str(), end), ("one two".to_owned(), "", None));
    let (texts, _, end) = speak(b"one, two", &["two", "tw"]);
    assert_eq!((texts.concat(), end), ("one, ".to_owned(), Some(Ending::Stop("tw".into()))));
    let (texts, rest, end) = speak(b"aab", &["aac"]);
    assert_eq!((texts.as_slice(), rest.as_str(), end), (["", "", "aab"].map(str::to_owned).as_slice(), "", None));
    let (texts, rest, _) = speak(b"aa", &["aac"]);
    assert_eq!((texts.concat().as_str(), rest.as_str()), ("", "aa"), "it belongs to the reply where that ends");
    let (texts, ..) = speak("é漢".as_bytes(), &["漢字"]);
    assert_eq!(texts.concat(), "é");
}

#[test]
fn the_models_own_end_is_no_text() {
    let mut speech = Speech::new(Language::bytes(), vec!["bc".into()]);
    assert_eq!(speech.say(u32::from(b'b')).text, "");
    assert_eq!(speech.say(256), Spoken { text: "b".into(), end: Some(Ending::Model) });
}

#[test]
fn a_chat_without_a_template_names_its_roles() {
    let message = |role: &str, content: &str| Message { role: role.into(), content: content.into() };
    let text =
        Language::bytes().chat(&[message("system", "Be brief."), message("user", "Hi")], Next::Reply).expect("text");
    assert_eq!(text, "<|system|>\nBe brief.\n<|user|>\nHi\n<|assistant|>\n");
    assert_eq!(Language::bytes().decode(&Language::bytes().encode(&text, true)), text);
}
