//! Amazon's event stream, written by another hand than the client's reader.

/// CRC-32 (IEEE 802.3), bit by bit: slow and plain.
fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 };
        }
    }
    !crc
}

/// A frame with string headers.
pub(crate) fn frame(headers: &[(&str, &str)], payload: &[u8]) -> Vec<u8> {
    let mut head = Vec::new();
    for (name, value) in headers {
        head.push(name.len() as u8);
        head.extend(name.bytes());
        head.push(7);
        head.extend((value.len() as u16).to_be_bytes());
        head.extend(value.bytes());
    }
    let mut bytes = Vec::new();
    bytes.extend((16 + head.len() as u32 + payload.len() as u32).to_be_bytes());
    bytes.extend((head.len() as u32).to_be_bytes());
    bytes.extend(crc32(&bytes).to_be_bytes());
    bytes.extend(head);
    bytes.extend(payload);
    bytes.extend(crc32(&bytes).to_be_bytes());
    bytes
}

/// A part of the model's response.
pub(crate) fn part(payload: &[u8]) -> Vec<u8> {
    let kind = ":content-type";
    frame(&[(":event-type", "PayloadPart"), (kind, "application/octet-stream"), (":message-type", "event")], payload)
}

/// What goes wrong in the middle of a stream.
pub(crate) fn exception(kind: &str, payload: &str) -> Vec<u8> {
    let headers = [(":exception-type", kind), (":content-type", "application/json"), (":message-type", "exception")];
    frame(&headers, payload.as_bytes())
}
