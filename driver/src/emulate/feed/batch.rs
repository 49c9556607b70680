//! Events as bytes: MessagePack in the layout that every consumer reads that podlab knows of: a batch is a list, an event a map.

use super::tell::Told;
use rmpv::Value;

/// A batch of worker `rank` at a moment of the wall clock, seconds since 1970.
pub(super) fn packed(told: Vec<Told>, seconds: f64, rank: u16, block: u32) -> Vec<u8> {
    let events = told.into_iter().map(|told| event(told, block)).collect();
    let batch = Value::Array(vec![seconds.into(), Value::Array(events), rank.into()]);
    let mut bytes = Vec::new();
    rmpv::encode::write_value(&mut bytes, &batch).expect("a list takes all bytes");
    bytes
}

fn event(told: Told, block: u32) -> Value {
    let list = |numbers: Vec<u64>| Value::Array(numbers.into_iter().map(Value::from).collect());
    let gpu = ("medium", Value::from("GPU"));
    let fields = match told {
        Told::Stored { names, parent, tokens } => vec![
            ("type", "BlockStored".into()),
            ("block_hashes", list(names)),
            ("parent_block_hash", parent.map_or(Value::Nil, Value::from)),
            ("token_ids", Value::Array(tokens.into_iter().map(Value::from).collect())),
            ("block_size", block.into()),
            ("lora_id", Value::Nil),
            gpu,
            ("lora_name", Value::Nil),
        ],
        Told::Removed(names) => vec![("type", "BlockRemoved".into()), ("block_hashes", list(names)), gpu],
        Told::Cleared => vec![("type", "AllBlocksCleared".into())],
    };
    Value::Map(fields.into_iter().map(|(name, value)| (name.into(), value)).collect())
}
