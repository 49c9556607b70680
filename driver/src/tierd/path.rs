//! What a request asks for: its path, split while it is raw, each part decoded once; and its query.

use kvcache::{GrantId, ObjectName, Span};
use std::time::Duration;

/// The longest bucket or key, in bytes once decoded.
pub(super) const LONGEST_KEY: usize = 4096;
/// Digits of a lease's name: a word that tells this life of the daemon from others, and the number of the lease.
const LEASE_DIGITS: usize = 32;

/// An object, as a request names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Object {
    pub(super) name: ObjectName,
    /// Bytes of its key, for the log.
    pub(super) key_len: usize,
    /// `BUCKET/KEY` as it came, for other daemons.
    pub(super) raw: String,
}

/// What a path leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Route {
    /// `/v1/kv/BUCKET/KEY`: a client's object.
    Object(Object),
    /// `/v1/kv/BUCKET/KEY/leases`.
    Lease(Object),
    /// `/v1/leases/ID/release`; `None` where no lease has such a name.
    Release(Option<Ticket>),
    /// `/v1/peer/BUCKET/KEY`: another daemon's business with an object.
    Peer(Object),
    /// `/health`, `/healthz`.
    Health,
    /// `/metrics`.
    Metrics,
}

/// A lease's name, read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ticket {
    pub(super) life: u64,
    pub(super) id: GrantId,
}

impl Ticket {
    /// Needs no escaping.
    pub(super) fn text(self) -> String {
        format!("{:016x}{:016x}", self.life, self.id.bits())
    }

    fn read(text: &str) -> Option<Self> {
        let is_hex =
            text.len() == LEASE_DIGITS && text.bytes().all(|c| c.is_ascii_digit() || (b'a'..=b'f').contains(&c));
        let word = |digits: &str| u64::from_str_radix(digits, 16).ok();
        let (life, id) = if is_hex { text.split_at(LEASE_DIGITS / 2) } else { return None };
        Some(Self { life: word(life)?, id: GrantId::from_bits(word(id)?) })
    }
}

impl Route {
    /// Reads a raw path; `Ok(None)` where it leads nowhere.
    ///
    /// # Errors
    /// What is wrong with it. Never tells the key: that may hold a tenant's salt.
    pub(super) fn read(path: &str) -> Result<Option<Self>, String> {
        let Some(rest) = path.strip_prefix('/') else { return Ok(None) };
        let mut parts = rest.split('/');
        // No path that leads somewhere has more.
        let all: [Option<&str>; 6] = std::array::from_fn(|_| parts.next());
        Ok(Some(match all {
            [Some("health" | "healthz"), None, ..] => Self::Health,
            [Some("metrics"), None, ..] => Self::Metrics,
            [Some("v1"), Some("kv"), Some(bucket), Some(key), None, _] => Self::Object(object(bucket, key)?),
            [Some("v1"), Some("kv"), Some(bucket), Some(key), Some("leases"), None] => {
                Self::Lease(object(bucket, key)?)
            }
            [Some("v1"), Some("leases"), Some(id), Some("release"), None, _] => Self::Release(Ticket::read(id)),
            [Some("v1"), Some("peer"), Some(bucket), Some(key), None, _] => Self::Peer(object(bucket, key)?),
            _ => return Ok(None),
        }))
    }
}

fn object(bucket: &str, key: &str) -> Result<Object, String> {
    let (raw, bucket, key) = (format!("{bucket}/{key}"), decode("bucket", bucket)?, decode("key", key)?);
    Ok(Object { name: ObjectName::of(&bucket, &key), key_len: key.len(), raw })
}

/// Percent-decodes one part of a path.
fn decode(what: &str, part: &str) -> Result<Vec<u8>, String> {
    let digit = |byte: Option<&u8>| byte.and_then(|byte| char::from(*byte).to_digit(16));
    let mut bytes = Vec::with_capacity(part.len());
    let mut rest = part.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let (Some(high), Some(low)) = (digit(rest.first()), digit(rest.get(1))) else {
            return Err(format!("the {what} has a % without two hexadecimal digits behind it"));
        };
        bytes.push((high * 16 + low) as u8);
        rest = &rest[2..];
    }
    if bytes.is_empty() || bytes.len() > LONGEST_KEY {
        return Err(format!("the {what} has {} bytes; it may have 1 to {LONGEST_KEY}", bytes.len()));
    }
    Ok(bytes)
}

/// What a lease is asked for with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Terms {
    /// How long its client waits for it.
    pub(super) timeout: Duration,
    /// How long it lasts.
    pub(super) ttl: Span,
}

impl Terms {
    /// Reads a query: `timeout_ms` (0 where it is absent), `ttl_s` (30), and whatever else.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn read(query: Option<&str>, longest_lease: Duration) -> Result<Self, String> {
        let ttl = number(query, "ttl_s")?.unwrap_or(30.0);
        let longest = longest_lease.as_secs_f64();
        if !(ttl > 0.0 && ttl <= longest) {
            return Err(format!("ttl_s is a number of seconds above 0, up to {longest}"));
        }
        Ok(Self { timeout: patience(query, "timeout_ms")?, ttl: Span::from_secs_f64(ttl) })
    }
}

/// Milliseconds of a query's `field`; none where it is absent, a day where it is more.
///
/// # Errors
/// Where it is no number from 0.
pub(super) fn patience(query: Option<&str>, field: &str) -> Result<Duration, String> {
    let timeout = number(query, field)?.unwrap_or(0.0);
    if timeout < 0.0 {
        return Err(format!("{field} is a number of milliseconds from 0"));
    }
    Ok(Duration::from_secs_f64((timeout / 1e3).min(86_400.0)))
}

fn number(query: Option<&str>, field: &str) -> Result<Option<f64>, String> {
    let pairs = query.unwrap_or_default().split('&').filter_map(|pair| pair.split_once('='));
    let mut values = pairs.filter(|(name, _)| *name == field).map(|(_, value)| value);
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(format!("{field} is given twice"));
    }
    value
        .parse::<f64>()
        .ok()
        .filter(|number| number.is_finite())
        .map(Some)
        .ok_or_else(|| format!("{field} is no number"))
}
