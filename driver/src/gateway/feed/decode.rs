//! A batch of vLLM's KV events, from MessagePack.
//!
//! The layout has changed twice, and all four that are about are read: a batch is an array or a map, and so is an event. Fields that
//! are not known are skipped, arrays may be short, and events of unknown kinds are nothing.

use rmpv::Value;
use thiserror::Error;

/// The name that an engine gives a block: 64 bits, or the bytes of a longer hash.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Name {
    /// 64 bits.
    Number(u64),
    /// More.
    Bytes(Box<[u8]>),
}

/// What an engine says of its cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Blocks that follow each other are there now.
    Stored {
        /// Their names.
        names: Vec<Name>,
        /// The block before them; `None`: they begin a prompt.
        parent: Option<Name>,
        /// All their tokens.
        tokens: Vec<u32>,
        /// Tokens in each.
        block: u32,
        /// Whether tokens alone make the name: no adapter, no image, no salt.
        is_plain: bool,
        /// Whether they are on the device.
        on_device: bool,
    },
    /// Blocks are gone.
    Removed {
        /// Their names.
        names: Vec<Name>,
        /// Whether it is the device that they are gone from.
        on_device: bool,
    },
    /// All are.
    Cleared,
}

/// Bytes that are no batch of events.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("KV events: {0}")]
pub struct Malformed(&'static str);

/// Reads a batch.
///
/// # Errors
/// Where it is none.
pub fn batch(payload: &[u8]) -> Result<Vec<Event>, Malformed> {
    let mut rest = payload;
    let value =
        rmpv::decode::read_value_with_max_depth(&mut rest, 16).map_err(|_| Malformed("it is no MessagePack"))?;
    let events = match value {
        // [timestamp, events, rank]
        Value::Array(fields) => fields.into_iter().nth(1),
        Value::Map(fields) => take(fields, "events"),
        _ => None,
    };
    let Some(Value::Array(events)) = events else { return Err(Malformed("a batch has a list of events")) };
    events.into_iter().filter_map(|event| read(event).transpose()).collect()
}

fn take(fields: Vec<(Value, Value)>, name: &str) -> Option<Value> {
    fields.into_iter().find_map(|(key, value)| (key.as_str() == Some(name)).then_some(value))
}

/// Where the fields of an event stand, in either layout.
struct Fields(Vec<(&'static str, Value)>);

const STORED: [&str; 10] = [
    "block_hashes",
    "parent_block_hash",
    "token_ids",
    "block_size",
    "lora_id",
    "medium",
    "lora_name",
    "extra_keys",
    "group_idx",
    "kv_cache_spec_kind",
];
const REMOVED: [&str; 3] = ["block_hashes", "medium", "group_idx"];

impl Fields {
    fn get(&self, name: &str) -> Option<&Value> {
        self.0.iter().find(|(known, value)| *known == name && !value.is_nil()).map(|(_, value)| value)
    }
}

fn read(event: Value) -> Result<Option<Event>, Malformed> {
    let (tag, fields): (String, Vec<(String, Value)>) = match event {
        Value::Array(fields) => {
            let mut fields = fields.into_iter();
            let tag = fields.next().as_ref().and_then(Value::as_str).map(str::to_owned);
            let tag = tag.ok_or(Malformed("an event begins with its kind"))?;
            let names: &[&str] = if tag == "BlockStored" { &STORED } else { &REMOVED };
            (tag, names.iter().map(|name| (*name).to_owned()).zip(fields).collect())
        }
        Value::Map(fields) => {
            let named = |(key, value): (Value, Value)| Some((key.as_str()?.to_owned(), value));
            let mut fields: Vec<(String, Value)> = fields.into_iter().filter_map(named).collect();
            let place = fields.iter().position(|(name, _)| name == "type").ok_or(Malformed("an event has a type"))?;
            let (_, tag) = fields.swap_remove(place);
            (tag.as_str().ok_or(Malformed("an event's type is a word"))?.to_owned(), fields)
        }
        _ => return Err(Malformed("an event is a list or a map")),
    };
    let known = |(name, value): (String, Value)| Some((*STORED.iter().find(|known| **known == name)?, value));
    let fields = Fields(fields.into_iter().filter_map(known).collect());
    // Groups of other layers (sliding windows) have blocks of their own; the first group's stand for the prompt.
    if fields.get("group_idx").and_then(Value::as_u64).is_some_and(|group| group > 0) {
        return Ok(None);
    }
    let on_device =
        fields.get("medium").and_then(Value::as_str).is_none_or(|medium| medium.eq_ignore_ascii_case("gpu"));
    match tag.as_str() {
        "BlockStored" => stored(&fields, on_device).map(Some),
        "BlockRemoved" => Ok(Some(Event::Removed { names: names(&fields)?, on_device })),
        "AllBlocksCleared" => Ok(Some(Event::Cleared)),
        _ => Ok(None),
    }
}

fn stored(fields: &Fields, on_device: bool) -> Result<Event, Malformed> {
    let names = names(fields)?;
    let parent = fields.get("parent_block_hash").map(|value| name(value).ok_or(NO_NAME)).transpose()?;
    let Some(Value::Array(tokens)) = fields.get("token_ids") else {
        return Err(Malformed("stored blocks have tokens"));
    };
    let id = |token: &Value| token.as_u64().and_then(|id| u32::try_from(id).ok());
    let tokens: Option<Vec<u32>> = tokens.iter().map(id).collect();
    let tokens = tokens.ok_or(Malformed("tokens are whole numbers of 32 bits"))?;
    let block = fields.get("block_size").and_then(Value::as_u64).and_then(|size| u32::try_from(size).ok());
    let block = block.filter(|size| *size > 0).ok_or(Malformed("stored blocks have a size"))?;
    if names.len().checked_mul(block as usize) != Some(tokens.len()) {
        return Err(Malformed("each stored block has as many tokens as it holds"));
    }
    let is_empty = |value: &Value| value.as_array().is_some_and(|keys| keys.iter().all(|key| key.is_nil()));
    let is_plain = ["lora_id", "lora_name"].iter().all(|name| fields.get(name).is_none())
        && fields.get("extra_keys").is_none_or(is_empty);
    Ok(Event::Stored { names, parent, tokens, block, is_plain, on_device })
}

const NO_NAME: Malformed = Malformed("a block's name is a number of 64 bits or bytes");

fn names(fields: &Fields) -> Result<Vec<Name>, Malformed> {
    let Some(Value::Array(names)) = fields.get("block_hashes") else {
        return Err(Malformed("an event names its blocks"));
    };
    names.iter().map(|value| name(value).ok_or(NO_NAME)).collect()
}

fn name(value: &Value) -> Option<Name> {
    match value {
        Value::Integer(number) => number.as_u64().or(number.as_i64().map(i64::cast_unsigned)).map(Name::Number),
        Value::Binary(bytes) if bytes.len() <= 64 => Some(Name::Bytes(bytes.as_slice().into())),
        _ => None,
    }
}
