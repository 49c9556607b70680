//! Reading traces: what is there is read, and nothing makes the reader panic.

use kvcache::{SessionId, Span, Time, Tokens};
use sim::streams::Streams;
use sim::workload::Workload;
use sim::workload::mooncake::{is_mooncake, parse};

mod formats; // tables and lists of sizes
mod replies; // replies that the next prompt repeats
mod fuzz; // whatever a file holds

/// Prompt and output tokens of each request.
fn lengths(workload: &Workload) -> Vec<(u32, u32)> {
    workload.requests().iter().map(|request| (request.prompt.0, request.output.0)).collect()
}

/// When each is sent, in seconds.
fn times(workload: &Workload) -> Vec<f64> {
    workload.requests().iter().map(|request| Span(request.at.0).as_secs_f64()).collect()
}

const GOOD: &str = r#"{"timestamp": 0, "input_length": 600, "output_length": 3, "hash_ids": [7, 9]}
{"timestamp": 12.5, "input_length": 1024, "output_length": 1, "hash_ids": [7, 10], "session_id": 5}

{"output_length": 2, "timestamp": 13, "hash_ids": [], "input_length": 0, "unknown": {"a": [1]}, "session_id": "x"}
"#;

#[test]
fn a_trace_is_read_as_it_stands() {
    assert!(is_mooncake(GOOD));
    for text in [GOOD.to_owned(), GOOD.replace('\n', "\r\n")] {
        let workload = parse(&text).expect("it is valid");
        let [first, second, third] = workload.requests() else { panic!("three requests") };
        assert_eq!((first.at, first.prompt, first.output), (Time::ZERO, Tokens(600), Tokens(3)));
        assert_eq!(second.at, Time(Span::from_micros(12_500).0));
        assert_eq!((first.session, second.session), (None, Some(SessionId(5))));
        assert!(third.session.is_some());
        let lengths = |request| workload.segments(request).iter().map(|s| (s.id, s.tokens.0)).collect::<Vec<_>>();
        assert_eq!(lengths(first), [(7, 512), (9, 88)], "the last id names what is left of the prompt");
        assert_eq!(lengths(second), [(7, 512), (10, 512)]);
        assert_eq!(lengths(third), []);
    }
}

#[test]
fn a_speed_up_divides_times_and_nothing_else() {
    let fast = parse(GOOD).expect("it is valid").sped_up(2.5);
    assert_eq!(fast.requests()[1].at, Time(Span::from_millis(5).0));
    assert_eq!(fast.requests()[1].prompt, Tokens(1024));
}

#[test]
fn no_damage_makes_the_reader_panic() {
    let mut stream = Streams::new(7).named("damage");
    let (mut accepted, mut refused) = (0, 0);
    for _ in 0..20_000 {
        let mut bytes = GOOD.as_bytes().to_vec();
        for _ in 0..=stream.below(3) {
            let place = stream.below(bytes.len() as u64) as usize;
            match stream.below(4) {
                0 => bytes.truncate(place.max(10)),
                1 => bytes[place] = b" 0-9{}[]\",:.e\n"[stream.below(14) as usize],
                2 => bytes.insert(place, b"0123456789-e.,[]{}\"\n"[stream.below(20) as usize]),
                _ => {
                    bytes.remove(place);
                }
            }
        }
        match parse(&String::from_utf8_lossy(&bytes)) {
            Ok(workload) => {
                accepted += 1;
                assert!(workload.requests().is_sorted_by_key(|request| request.at));
            }
            Err(error) => {
                refused += 1;
                assert!(!error.problem.is_empty() && error.line <= 5, "{error}");
            }
        }
    }
    assert!(accepted > 1_000 && refused > 5_000, "both happen: {accepted}, {refused}");
}

/// Lines as most of them are written are read by hand; what they say is what they say as JSON.
#[test]
fn plain_lines_say_what_they_say_as_json() {
    let mut stream = Streams::new(11).named("plain");
    let (mut accepted, mut refused) = (0, 0);
    for _ in 0..50_000 {
        let most = [1, 9, 999, 99_999_999, 1_000_000_000_000_000, u64::MAX][stream.below(6) as usize];
        let ids: Vec<String> = (0..stream.below(5)).map(|_| stream.below(most).to_string()).collect();
        let input = 512 * ids.len();
        let mut line = format!(
            "{{\"timestamp\": {}, \"input_length\":{input}, \"output_length\" : 3,\"hash_ids\": [{}]}}",
            stream.below(20_000_000_000),
            ids.join([",", ", ", " ,\t"][stream.below(3) as usize]),
        );
        if stream.below(2) == 0 {
            let place = stream.below(line.len() as u64) as usize;
            match stream.below(3) {
                0 => line.insert(place, char::from(b"0123456789-+.eE,[]{}\" :\\\t"[stream.below(23) as usize])),
                1 => line.insert(place, ['\u{e9}', '\u{ff10}', '\u{1f600}', 'x'][stream.below(4) as usize]),
                _ => {
                    line.remove(place);
                }
            }
        }
        // A name that nobody knows makes a line unusual, and nothing else.
        let unusual = line.replacen('{', "{\"unknown\": 0, ", 1);
        match (parse(&line), parse(&unusual)) {
            (Ok(plain), Ok(json)) => {
                accepted += 1;
                assert_eq!(plain, json, "{line}");
            }
            (Err(_), Err(_)) => refused += 1,
            (plain, json) => panic!("{line}: {plain:?}, as JSON {json:?}"),
        }
    }
    assert!(accepted > 10_000 && refused > 10_000, "both happen: {accepted}, {refused}");
}
