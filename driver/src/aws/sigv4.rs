//! AWS Signature Version 4: signing.
//!
//! By AWS's "Create a signed AWS API request" (IAM user guide); botocore recomputes it in the tests.

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use std::fmt::Write;

/// What requests are signed with.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The public part.
    pub access_key: String,
    /// The secret part.
    pub secret_key: String,
    /// Of temporary ones.
    pub session_token: Option<String>,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials").field("access_key", &self.access_key).finish_non_exhaustive()
    }
}

/// What a signature is valid for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scope<'a> {
    /// The moment, as `20261127T190000Z`.
    pub moment: &'a str,
    /// The region.
    pub region: &'a str,
    /// The service.
    pub service: &'a str,
}

/// The value of the header `authorization` for a POST to `path` with all of `headers` (names in lower case), of which `user-agent` alone is not
/// signed: proxies change it. O(body).
#[must_use]
pub fn authorization(
    credentials: &Credentials,
    scope: Scope<'_>,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> String {
    let mut lines: Vec<(&str, &str)> = headers.iter().copied().filter(|(name, _)| *name != "user-agent").collect();
    lines.sort_unstable();
    let request = Canonical { method: "POST", path, query: "", lines: &lines, body };
    let signature = hex(&scope.mac(&credentials.secret_key, &request).finalize().into_bytes());
    let (access_key, range, names) = (&credentials.access_key, scope.range(), request.names());
    format!("AWS4-HMAC-SHA256 Credential={access_key}/{range}, SignedHeaders={names}, Signature={signature}")
}

/// What of a request is signed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Canonical<'a> {
    pub(super) method: &'a str,
    /// Escaped once more than it is on the wire.
    pub(super) path: &'a str,
    /// Sorted.
    pub(super) query: &'a str,
    /// The signed headers by name, in order.
    pub(super) lines: &'a [(&'a str, &'a str)],
    pub(super) body: &'a [u8],
}

impl Canonical<'_> {
    fn names(&self) -> String {
        self.lines.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(";")
    }

    fn hash(&self) -> String {
        let mut text = format!("{}\n{}\n{}\n", self.method, self.path, self.query);
        for (name, value) in self.lines {
            let _ = writeln!(text, "{name}:{}", folded(value));
        }
        let _ = write!(text, "\n{}\n{}", self.names(), hex(&Sha256::digest(self.body)));
        hex(&Sha256::digest(text.as_bytes()))
    }
}

impl Scope<'_> {
    fn day(&self) -> &str {
        self.moment.get(..8).unwrap_or(self.moment)
    }

    fn range(&self) -> String {
        format!("{}/{}/{}/aws4_request", self.day(), self.region, self.service)
    }

    /// The signature of a request, to be written down or checked.
    pub(super) fn mac(&self, secret_key: &str, request: &Canonical<'_>) -> Hmac<Sha256> {
        let mut key = format!("AWS4{secret_key}").into_bytes();
        for part in [self.day(), self.region, self.service, "aws4_request"] {
            key = mac(&key, part.as_bytes()).finalize().into_bytes().to_vec();
        }
        let to_sign = format!("AWS4-HMAC-SHA256\n{}\n{}\n{}", self.moment, self.range(), request.hash());
        mac(&key, to_sign.as_bytes())
    }
}

/// Without spaces around it, and with single ones inside.
fn folded(value: &str) -> String {
    value.split_ascii_whitespace().collect::<Vec<_>>().join(" ")
}

fn mac(key: &[u8], message: &[u8]) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("a key may have any length");
    mac.update(message);
    mac
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(64), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
