//! What an object is called, and which daemon it belongs to.

use crate::chain::mix;
use alloc::vec::Vec;
use core::fmt;
use sha2::{Digest, Sha256};

/// The name of an object: a hash of its bucket and key, domain-tagged, each with its length, so that no two pairs run
/// together. A key may hold a tenant's salt; its name does not tell it, and may be logged.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectName([u8; 32]);

impl ObjectName {
    /// The name of the object that `key` names in `bucket`; both may be any bytes.
    #[must_use]
    pub fn of(bucket: &[u8], key: &[u8]) -> Self {
        let mut hasher = Sha256::new();
        hasher.update(b"podlab.object");
        for field in [bucket, key] {
            hasher.update((field.len() as u64).to_le_bytes());
            hasher.update(field);
        }
        Self(hasher.finalize().into())
    }

    /// Its bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Its first word, for whoever needs no more than a well-mixed number.
    #[must_use]
    pub const fn word(&self) -> u64 {
        let [a, b, c, d, e, f, g, h, ..] = self.0;
        u64::from_le_bytes([a, b, c, d, e, f, g, h])
    }
}

impl fmt::Display for ObjectName {
    /// The first eight bytes: enough to find it again in a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0[..8].iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Which of several daemons an object belongs to: rendezvous hashing (Thaler & Ravishankar 1998). Each name ranks all
/// daemons at random by their own names, and the one it ranks highest has it. So objects spread evenly, whoever lists the
/// same daemons in whatever order agrees, and when one goes or comes only its own objects move.
///
/// The pool of the simulator ranks numbered shards without looking at each; a daemon has few peers, which have names.
#[derive(Clone, Debug)]
pub struct Owners {
    members: Vec<u64>,
}

impl Owners {
    /// The daemons of these names.
    ///
    /// # Panics
    /// Where there are none.
    #[must_use]
    pub fn new<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        let word = |name: &str| ObjectName::of(b"podlab.daemon", name.as_bytes()).word();
        let members: Vec<u64> = names.into_iter().map(word).collect();
        assert!(!members.is_empty(), "an object belongs to somebody");
        Self { members }
    }

    /// The place of the owner in the list of names. O(daemons).
    #[must_use]
    pub fn of(&self, name: &ObjectName) -> usize {
        let rank = |member: &u64| mix(mix(name.word(), *member), *member);
        let highest = self.members.iter().enumerate().max_by_key(|(_, member)| (rank(member), **member));
        highest.map_or(0, |(place, _)| place)
    }
}
