//! Amazon's event stream: botocore's own example, cut at every byte, mutated.

use driver::aws::eventstream::{Decoder, Frame, encode};
use driver::bench::reader::{Form, Reader};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

const PART: [(&str, &str); 3] =
    [(":event-type", "PayloadPart"), (":content-type", "application/octet-stream"), (":message-type", "event")];

/// A response of two tokens whose events are cut every `size` bytes into payload parts.
fn response(size: usize) -> Vec<u8> {
    let token =
        |text: &str| format!("data: {{\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{text}\"}}}}]}}\n\n");
    let usage = r#"data: {"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":2,"prompt_tokens_details":{"cached_tokens":4}}}"#;
    let body = format!("{}{}{usage}\n\ndata: [DONE]\n\n", token("Hel"), token("lo"));
    body.as_bytes().chunks(size).flat_map(|piece| encode(&PART, piece)).collect()
}

fn read(pieces: &[&[u8]]) -> (u64, Option<String>, Option<u64>, Option<String>) {
    let mut reader = Reader::new(Form::EventStream, true, None);
    pieces.iter().for_each(|piece| reader.push(piece, 1));
    let (seen, result) = reader.end(None, 2);
    let cached = seen.usage.and_then(|usage| usage.cached_tokens);
    (seen.events, seen.text, cached, result.err().map(|problem| problem.class.into_owned()))
}

/// The first bytes of botocore's and AWS's published test vector `empty_message` and `payload_no_headers`.
#[test]
fn published_vectors_are_read() {
    let empty: [u8; 16] = [0, 0, 0, 0x10, 0, 0, 0, 0, 0x05, 0xc2, 0x48, 0xeb, 0x7d, 0x98, 0xc8, 0xff];
    let mut frames = Vec::new();
    Decoder::default().push(&empty, |frame| frames.push(frame)).expect("it is whole");
    assert_eq!(frames, [Frame::default()]);
    assert_eq!(encode(&[], b""), empty);
    let mut payload = vec![0, 0, 0, 0x1d, 0, 0, 0, 0, 0xfd, 0x52, 0x8c, 0x5a];
    payload.extend(b"{'foo':'bar'}");
    payload.extend([0xc3, 0x65, 0x39, 0x36]);
    assert_eq!(encode(&[], b"{'foo':'bar'}"), payload);
}

#[test]
fn a_response_may_be_cut_anywhere() {
    let whole = (2, Some("Hello".to_owned()), Some(4), None);
    for size in [1, 7, 64, 1000] {
        let bytes = response(size);
        assert_eq!(read(&[&bytes]), whole);
        for at in 0..=bytes.len() {
            let (head, tail) = bytes.split_at(at);
            assert_eq!(read(&[head, tail]), whole, "parts of {size}, cut at {at}");
        }
    }
}

/// boto3 loses the tail of such a stream silently.
#[test]
fn a_stream_that_ends_inside_a_frame_is_an_error() {
    let bytes = response(1000);
    for at in 1..bytes.len() {
        assert_eq!(read(&[&bytes[..at]]).3.as_deref(), Some("cut_in_frame"), "ended at {at}");
    }
    let without_end: Vec<u8> =
        [&b"data: {\"choices\":[{\"text\":\"a\"}]}\n\n"[..]].iter().flat_map(|piece| encode(&PART, piece)).collect();
    assert_eq!(read(&[&without_end]).3.as_deref(), Some("no_done"));
}

#[test]
fn a_flipped_bit_is_a_bad_frame() {
    let bytes = response(1000);
    for at in 0..bytes.len() {
        let mut broken = bytes.clone();
        broken[at] ^= 0x10;
        let class = read(&[&broken]).3;
        // A length that grew is a checksum that does not fit, too.
        assert_eq!(class.as_deref(), Some("bad_frame"), "flipped at {at}");
    }
}

#[test]
fn exceptions_have_classes() {
    let exception = |kind: &str, payload: &str| {
        let headers =
            [(":exception-type", kind), (":content-type", "application/json"), (":message-type", "exception")];
        let mut bytes = encode(&PART, b"data: {\"choices\":[{\"text\":\"a\"}]}\n\n");
        bytes.extend(encode(&headers, payload.as_bytes()));
        read(&[&bytes])
    };
    let (events, _, _, class) = exception("ModelStreamError", r#"{"Message":"m","ErrorCode":"StreamBroken"}"#);
    assert_eq!((events, class.as_deref()), (1, Some("model_stream_error")));
    let timeout = exception("ModelStreamError", r#"{"Message":"m","ErrorCode":"ModelInvocationTimeExceeded"}"#);
    assert_eq!(timeout.3.as_deref(), Some("model_timeout"));
    assert_eq!(exception("InternalStreamFailure", "{}").3.as_deref(), Some("internal_stream_failure"));
}

/// The checksum of a frame, by another hand.
fn crc32(bytes: &[u8]) -> [u8; 4] {
    let bit = |crc: u32| if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 };
    let byte = |crc: u32, byte: &u8| (0..8).fold(crc ^ u32::from(*byte), |crc, _| bit(crc));
    (!bytes.iter().fold(u32::MAX, byte)).to_be_bytes()
}

/// A byte here and there is another one, one more or one less.
fn mutate(bytes: &mut Vec<u8>, random: &mut ChaCha8Rng) {
    for _ in 0..random.next_u32() % 4 {
        let at = random.next_u32() as usize % bytes.len().max(1);
        match random.next_u32() % 4 {
            _ if bytes.is_empty() => bytes.push(7),
            0 => bytes[at] = random.next_u32() as u8,
            1 => bytes.insert(at, random.next_u32() as u8),
            2 => drop(bytes.remove(at)),
            _ => bytes.truncate(at),
        }
    }
}

/// Frames with mutated headers and payloads whose checksums are right; then, of every other stream, mutated bytes.
fn fuzz(inputs: u64) {
    let mut random = ChaCha8Rng::seed_from_u64(2);
    for input in 0..inputs {
        let mut bytes = Vec::new();
        for _ in 0..random.next_u32() % 4 {
            let whole = encode(&PART, b"data: {\"choices\":[{\"text\":\"a\"}]}\n\n");
            let headers = u32::from_be_bytes([whole[4], whole[5], whole[6], whole[7]]) as usize;
            let (mut head, mut payload) =
                (whole[12..12 + headers].to_vec(), whole[12 + headers..whole.len() - 4].to_vec());
            mutate(&mut head, &mut random);
            mutate(&mut payload, &mut random);
            let from = bytes.len();
            bytes.extend((16 + head.len() as u32 + payload.len() as u32).to_be_bytes());
            bytes.extend((head.len() as u32).to_be_bytes());
            bytes.extend(crc32(&bytes[from..]));
            bytes.extend(head);
            bytes.extend(payload);
            bytes.extend(crc32(&bytes[from..]));
        }
        if input % 2 == 0 {
            mutate(&mut bytes, &mut random);
        }
        let (mut pieces, mut rest) = (Vec::new(), bytes.as_slice());
        while !rest.is_empty() {
            let (piece, behind) = rest.split_at(1 + random.next_u32() as usize % rest.len());
            pieces.push(piece);
            rest = behind;
        }
        assert_eq!(read(&pieces), read(&[&bytes]), "{bytes:?}");
    }
}

#[test]
fn mutated_frames_are_read_alike_however_they_are_cut() {
    fuzz(std::env::var("PODLAB_FUZZ").ok().and_then(|count| count.parse().ok()).unwrap_or(5_000));
}

#[test]
#[ignore = "a million inputs"]
fn a_million_mutated_frames() {
    fuzz(1_000_000);
}
