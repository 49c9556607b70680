//! An index that nothing is ever taken from, and what becomes of it.

use router::Router;
use std::fmt;

/// Bytes from which on `prefixaware`'s index is worth a word: some 13 MB of text that is new each time. A router's pod
/// lives with that, and by then it is seen to grow; production-stack's users were killed at 2 GB, and again at 16 GB
/// (its issue 687).
pub const NOTABLE: u64 = 64 << 20;

/// What a node of production-stack's trie takes, one for each 128 characters not seen before: measured, Python 3.11.
const BYTES_PER_NODE: u64 = 660;

/// How large the index of `prefixaware` has become, here and at HyperPod's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Growth {
    /// Bytes of podlab's index.
    pub bytes: u64,
    /// Bytes that production-stack's trie would take by now.
    pub upstream_bytes: u64,
}

impl Growth {
    /// That of `router`; `None` where its strategy is not `prefixaware`.
    #[must_use]
    pub fn of(router: &Router) -> Option<Self> {
        let upstream_bytes = router.trie_nodes()? * BYTES_PER_NODE;
        Some(Self { bytes: router.index_bytes(), upstream_bytes })
    }

    /// Whether either has passed `limit` bytes.
    #[must_use]
    pub fn passes(self, limit: u64) -> bool {
        self.bytes.max(self.upstream_bytes) > limit
    }
}

impl fmt::Display for Growth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mebibytes = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        write!(
            f,
            "prefixaware forgets nothing: its index takes {:.0} MiB, and upstream's trie would take some {:.0} MiB \
             ({BYTES_PER_NODE} bytes for each 128 characters not seen before); prefixaware+ stays within \
             router.index_bytes",
            mebibytes(self.bytes),
            mebibytes(self.upstream_bytes),
        )
    }
}
