//! AWS Signature Version 4, for requests whose path and query need no escapes.
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
    let mut lines: Vec<(&str, String)> =
        headers.iter().filter(|(name, _)| *name != "user-agent").map(|(name, value)| (*name, folded(value))).collect();
    lines.sort();
    let names = lines.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(";");
    let mut canonical = format!("POST\n{path}\n\n");
    for (name, value) in &lines {
        let _ = writeln!(canonical, "{name}:{value}");
    }
    let _ = write!(canonical, "\n{names}\n{}", hex(&Sha256::digest(body)));
    let Scope { moment, region, service } = scope;
    let day = moment.get(..8).unwrap_or(moment);
    let range = format!("{day}/{region}/{service}/aws4_request");
    let to_sign = format!("AWS4-HMAC-SHA256\n{moment}\n{range}\n{}", hex(&Sha256::digest(canonical.as_bytes())));
    let mut key = mac(format!("AWS4{}", credentials.secret_key).as_bytes(), day.as_bytes());
    for part in [region, service, "aws4_request"] {
        key = mac(&key, part.as_bytes());
    }
    let signature = hex(&mac(&key, to_sign.as_bytes()));
    let access_key = &credentials.access_key;
    format!("AWS4-HMAC-SHA256 Credential={access_key}/{range}, SignedHeaders={names}, Signature={signature}")
}

/// Without spaces around it, and with single ones inside.
fn folded(value: &str) -> String {
    value.split_ascii_whitespace().collect::<Vec<_>>().join(" ")
}

fn mac(key: &[u8], message: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("a key may have any length");
    mac.update(message);
    mac.finalize().into_bytes().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(64), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
