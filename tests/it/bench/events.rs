//! Server-sent events: by hand, cut anywhere, mutated.

use driver::bench::reader::{Form, Reader};
use driver::bench::sse::Sse;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// Names and data of all events of a stream that comes in `pieces`.
fn events<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (Vec<(String, String)>, bool) {
    let mut sse = Sse::default();
    let mut events = Vec::new();
    for piece in pieces {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        sse.push(piece, |event| events.push((text(event.name), text(event.data)))).expect("short lines");
    }
    (events, sse.is_inside())
}

fn pair(name: &str, data: &str) -> (String, String) {
    (name.to_owned(), data.to_owned())
}

/// The examples of the HTML standard, and what servers really send.
#[test]
fn the_standard_is_kept() {
    let of = |text: &str| events([text.as_bytes()]).0;
    assert_eq!(of("data: YHOO\ndata: +2\ndata: 10\n\n"), [pair("", "YHOO\n+2\n10")]);
    assert_eq!(of(": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third\n\n").len(), 3);
    assert_eq!(of("data\n\ndata\ndata\n\ndata:"), [pair("", "\n")]);
    assert_eq!(of("data:test\n\ndata: test\n\n"), [pair("", "test"), pair("", "test")]);
    assert_eq!(of("\u{feff}data: a\r\n\r\nevent: error\rdata: b\r\r"), [pair("", "a"), pair("error", "b")]);
    assert_eq!(of("data: a\r\ndata: b\r\n\r\n"), [pair("", "a\nb")], "CR and LF are one end of a line");
    assert_eq!(of("event: only\n\ndata: x\n\n"), [pair("", "x")]);
    assert_eq!(of("retry: 10\ndata: {\"a\":\"b: c\"}\n\n"), [pair("", "{\"a\":\"b: c\"}")]);
}

#[test]
fn what_breaks_off_inside_an_event_is_told() {
    for whole in ["", "data: a\n\n", ": ping\n", "data: a\r\n\r\n"] {
        assert!(!events([whole.as_bytes()]).1, "{whole:?}");
    }
    for broken in ["d", "data: a", "data: a\n", "data: a\n\ndata"] {
        assert!(events([broken.as_bytes()]).1, "{broken:?}");
    }
}

const STREAM: &str = "\u{feff}: hello\r\ndata: {\"choices\":[{\"delta\":{\"role\":\"assistant\"}}]}\r\n\r\nevent: x\rdata: a\rdata: b\r\rdata: c\ndata\n\n\ndata: [DONE]\n\n";

/// Every way of cutting a stream in two, in pieces of every size, gives the events of the whole.
#[test]
fn a_stream_may_be_cut_anywhere() {
    let whole = events([STREAM.as_bytes()]);
    assert_eq!(whole.0.len(), 4);
    for at in 0..=STREAM.len() {
        let (head, tail) = STREAM.as_bytes().split_at(at);
        assert_eq!(events([head, tail]), whole, "cut at {at}");
    }
    for size in 1..40 {
        assert_eq!(events(STREAM.as_bytes().chunks(size)), whole, "pieces of {size}");
    }
}

/// Mutated streams in random pieces: the same events however they are cut, and whatever a response's reader makes of them, it
/// makes the same of both.
fn fuzz(inputs: u64) {
    let mut random = ChaCha8Rng::seed_from_u64(1);
    let alphabet = b"\r\n:\xef\xbb\xbf da[]{}\"\\,evnt0";
    for _ in 0..inputs {
        let mut stream = STREAM.as_bytes().to_vec();
        for _ in 0..random.next_u32() % 6 {
            if stream.is_empty() {
                break;
            }
            let at = random.next_u32() as usize % stream.len();
            let byte = alphabet[random.next_u32() as usize % alphabet.len()];
            match random.next_u32() % 4 {
                0 => stream[at] = byte,
                1 => stream.insert(at, byte),
                2 => drop(stream.remove(at)),
                _ => stream.truncate(at.max(1)),
            }
        }
        let (mut pieces, mut rest) = (Vec::new(), stream.as_slice());
        while !rest.is_empty() {
            let (piece, behind) = rest.split_at(1 + random.next_u32() as usize % rest.len());
            pieces.push(piece);
            rest = behind;
        }
        assert_eq!(events(pieces.iter().copied()), events([stream.as_slice()]), "{stream:?}");
        let read = |pieces: &[&[u8]]| {
            let mut reader = Reader::new(Form::Events, true, None);
            pieces.iter().for_each(|piece| reader.push(piece, 1));
            let (seen, result) = reader.end(None, 2);
            (seen.events, seen.text, result)
        };
        assert_eq!(read(&pieces), read(&[&stream]), "{stream:?}");
    }
}

#[test]
fn mutated_streams_are_read_alike_however_they_are_cut() {
    fuzz(std::env::var("PODLAB_FUZZ").ok().and_then(|count| count.parse().ok()).unwrap_or(20_000));
}

#[test]
#[ignore = "a million inputs"]
fn a_million_mutated_streams() {
    fuzz(1_000_000);
}
