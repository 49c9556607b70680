//! AWS Signature Version 4: checking who asks, as a service does.
//!
//! By AWS's "Create a signed AWS API request" and "Troubleshoot Signature Version 4 signing" (IAM user guide). Told the time.

use super::sigv4::{Canonical, Credentials, Scope};
use hmac::Mac;
use std::fmt;

/// A signature holds for so many seconds, before and after the moment that it names: AWS's five minutes.
pub const VALID_SECONDS: i64 = 300;

/// A request as it came.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// `POST`.
    pub method: &'a str,
    /// The path as it stands on the wire.
    pub path: &'a str,
    /// What stands behind the question mark; empty where nothing does.
    pub query: &'a str,
    /// Names in lower case, and values.
    pub headers: &'a [(&'a str, &'a str)],
    /// All of the body.
    pub body: &'a [u8],
}

/// Why a request is not believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// It is not signed.
    Unsigned,
    /// Its signature lacks something.
    Incomplete(&'static str),
    /// Nobody has this access key, or this session token.
    Unknown,
    /// For another service.
    Service(String),
    /// It was signed too long ago, or will be.
    Expired {
        /// When it says that it was signed.
        signed: String,
        /// What time it is, Unix seconds.
        now: i64,
    },
    /// What was signed is not what came, or by another key.
    Different,
}

impl Refused {
    /// What AWS calls it.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Unsigned => "MissingAuthenticationTokenException",
            Self::Incomplete(_) => "IncompleteSignatureException",
            Self::Unknown => "UnrecognizedClientException",
            Self::Service(_) | Self::Expired { .. } | Self::Different => "InvalidSignatureException",
        }
    }

    /// The status of the response.
    #[must_use]
    pub const fn status(&self) -> u16 {
        match self {
            Self::Incomplete(_) => 400,
            _ => 403,
        }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unsigned => f.write_str("Missing Authentication Token"),
            Self::Incomplete(what) => write!(f, "The request signature lacks {what}."),
            Self::Unknown => f.write_str("The security token included in the request is invalid."),
            Self::Service(name) => {
                write!(f, "Credential should be scoped to the service 'sagemaker', not {name:?}.")
            }
            Self::Expired { signed, now } => {
                // Too early is as bad as too late.
                let now = jiff::Timestamp::from_second(*now).unwrap_or_default().strftime("%Y%m%dT%H%M%SZ").to_string();
                write!(f, "Signature expired or not yet current: {signed} is not within {VALID_SECONDS} s of {now}.")
            }
            Self::Different => f.write_str(
                "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method.",
            ),
        }
    }
}

impl std::error::Error for Refused {}

/// Whether `asked` was signed by `credentials` for `service`, not long before `now` (Unix seconds). O(body).
///
/// # Errors
/// [`Refused`]: why not.
pub fn verify(credentials: &Credentials, service: &str, asked: &Asked<'_>, now: i64) -> Result<(), Refused> {
    let header = |name: &str| asked.headers.iter().find(|(known, _)| *known == name).map(|(_, value)| *value);
    let said = header("authorization").ok_or(Refused::Unsigned)?;
    let said = said.strip_prefix("AWS4-HMAC-SHA256").ok_or(Refused::Incomplete("AWS4-HMAC-SHA256"))?;
    let field = |name: &'static str| {
        let found = said.split(',').find_map(|field| field.trim().strip_prefix(name)?.strip_prefix('='));
        found.ok_or(Refused::Incomplete(name))
    };
    let (credential, signed, signature) = (field("Credential")?, field("SignedHeaders")?, field("Signature")?);
    let parts: Vec<&str> = credential.split('/').collect();
    let &[access_key, day, region, of, "aws4_request"] = parts.as_slice() else {
        return Err(Refused::Incomplete("a credential of five parts"));
    };
    let moment = header("x-amz-date").ok_or(Refused::Incomplete("x-amz-date"))?;
    let signs = |name: &str| signed.split(';').any(|known| known == name);
    if !moment.starts_with(day) || !signs("host") || !signs("x-amz-date") {
        return Err(Refused::Incomplete("the host and the day of x-amz-date"));
    }
    if access_key != credentials.access_key || header("x-amz-security-token") != credentials.session_token.as_deref() {
        return Err(Refused::Unknown);
    }
    if of != service {
        return Err(Refused::Service(of.to_owned()));
    }
    let at = seconds(moment).ok_or(Refused::Incomplete("a moment such as 20261128T050000Z in x-amz-date"))?;
    if (now - at).abs() > VALID_SECONDS {
        return Err(Refused::Expired { signed: moment.to_owned(), now });
    }
    // What AWS's services act on must be signed, but for the trace that proxies add; and nothing signed may come twice.
    let acts = |name: &str| name.starts_with("x-amz") && name != "x-amzn-trace-id";
    if asked.headers.iter().any(|(name, _)| acts(name) && !signs(name)) {
        return Err(Refused::Different);
    }
    let mut lines = Vec::new();
    for name in signed.split(';') {
        let mut values = asked.headers.iter().filter(|(known, _)| *known == name).map(|(_, value)| *value);
        let (Some(value), None) = (values.next(), values.next()) else { return Err(Refused::Different) };
        lines.push((name, value));
    }
    let (path, query) = (escaped(asked.path), sorted(asked.query));
    let request = Canonical { method: asked.method, path: &path, query: &query, lines: &lines, body: asked.body };
    let signature = bytes(signature).ok_or(Refused::Different)?;
    // In constant time: how much of a guess is right must not show.
    let right = Scope { moment, region, service }.mac(&credentials.secret_key, &request);
    right.verify_slice(&signature).map_err(|_| Refused::Different)
}

fn seconds(moment: &str) -> Option<i64> {
    let civil = jiff::civil::DateTime::strptime("%Y%m%dT%H%M%SZ", moment).ok()?;
    Some(jiff::tz::Offset::UTC.to_timestamp(civil).ok()?.as_second())
}

/// Of a path that is escaped on the wire, what is signed: escaped once more.
fn escaped(path: &str) -> String {
    path.replace('%', "%25")
}

/// Parameters by name and value; one without a value has an empty one.
fn sorted(query: &str) -> String {
    let mut parts: Vec<(&str, &str)> = query
        .split('&')
        .filter(|part| !part.is_empty())
        .map(|part| part.split_once('=').unwrap_or((part, "")))
        .collect();
    parts.sort_unstable();
    parts.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&")
}

/// From pairs of hexadecimal digits.
fn bytes(hex: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let pairs = hex.as_bytes().chunks(2);
    pairs.map(|pair| Some((digit(*pair.first()?)? * 16 + digit(*pair.get(1)?)?) as u8)).collect()
}
