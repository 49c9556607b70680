//! AWS credentials by the usual chain: environment, shared files (with `credential_process`), container, instance.
//!
//! What needs another AWS service to be asked first (roles to assume, SSO, web identities) is left to the AWS CLI, which
//! hands its result over as a `credential_process` or as variables.

use super::fetch::{Ask, fetch};
use crate::aws::sigv4::Credentials;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Credentials are found again so many seconds before they expire.
const AHEAD: i64 = 300;

/// Credentials, and until when they are good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// What signs.
    pub credentials: Credentials,
    expires: Option<jiff::Timestamp>,
}

impl Found {
    pub(super) fn expires_soon(&self) -> bool {
        self.expires.is_some_and(|expires| jiff::Timestamp::now().as_second() + AHEAD >= expires.as_second())
    }
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// The first credentials that the chain finds.
///
/// # Errors
/// Where there are none: what was looked at, and what to do.
pub async fn find() -> Result<Found, String> {
    if let (Some(access_key), Some(secret_key)) = (variable("AWS_ACCESS_KEY_ID"), variable("AWS_SECRET_ACCESS_KEY")) {
        let credentials = Credentials { access_key, secret_key, session_token: variable("AWS_SESSION_TOKEN") };
        return Ok(Found { credentials, expires: None });
    }
    let name = variable("AWS_PROFILE").unwrap_or_else(|| "default".to_owned());
    let profile = profile(&name);
    if let Some(found) = in_profile(&name, &profile)? {
        return Ok(found);
    }
    if let Some(found) = container().await? {
        return Ok(found);
    }
    if variable("AWS_EC2_METADATA_DISABLED").is_none_or(|value| value != "true")
        && let Some(found) = instance().await
    {
        return Ok(found);
    }
    Err(format!(
        "no AWS credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY or AWS_PROFILE (profile \"{name}\" has none); \
         for SSO, roles and web identities: eval \"$(aws configure export-credentials --format env)\""
    ))
}

/// The region of the profile that is in use, where its file names one.
#[must_use]
pub fn region() -> Option<String> {
    profile(&variable("AWS_PROFILE").unwrap_or_else(|| "default".to_owned())).remove("region")
}

/// What both shared files say of a profile; the credentials file goes first.
fn profile(name: &str) -> BTreeMap<String, String> {
    let home = variable("HOME").map(PathBuf::from).unwrap_or_default().join(".aws");
    let file = |variable_name, default: &str| variable(variable_name).map_or_else(|| home.join(default), PathBuf::from);
    let read = |path: PathBuf| std::fs::read_to_string(path).unwrap_or_default();
    let config = read(file("AWS_CONFIG_FILE", "config"));
    let heading = if name == "default" { name.to_owned() } else { format!("profile {name}") };
    let mut all = section(&config, &heading);
    all.extend(section(&read(file("AWS_SHARED_CREDENTIALS_FILE", "credentials")), name));
    all
}

/// The keys of one section of an INI file.
fn section(text: &str, name: &str) -> BTreeMap<String, String> {
    let mut inside = false;
    let mut keys = BTreeMap::new();
    for line in text.lines().map(str::trim).filter(|line| !line.starts_with(['#', ';'])) {
        if let Some(heading) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            inside = heading.split_whitespace().collect::<Vec<_>>().join(" ") == name;
        } else if let Some((key, value)) = line.split_once('=').filter(|_| inside) {
            keys.insert(key.trim().to_ascii_lowercase(), value.trim().to_owned());
        }
    }
    keys
}

fn in_profile(name: &str, keys: &BTreeMap<String, String>) -> Result<Option<Found>, String> {
    if let (Some(access), Some(secret)) = (keys.get("aws_access_key_id"), keys.get("aws_secret_access_key")) {
        let session_token = keys.get("aws_session_token").cloned();
        let credentials = Credentials { access_key: access.clone(), secret_key: secret.clone(), session_token };
        return Ok(Some(Found { credentials, expires: None }));
    }
    if let Some(command) = keys.get("credential_process") {
        return from_process(name, command).map(Some);
    }
    match keys.keys().find(|key| key.starts_with("sso_") || *key == "role_arn" || *key == "web_identity_token_file") {
        None => Ok(None),
        Some(key) => Err(format!(
            "profile \"{name}\" has {key}, which the AWS CLI resolves: add a profile with credential_process = aws configure \
             export-credentials --profile {name}, or: eval \"$(aws configure export-credentials --profile {name} --format env)\""
        )),
    }
}

fn from_process(profile: &str, command: &str) -> Result<Found, String> {
    let failed = |why: String| format!("profile \"{profile}\": credential_process: {why}");
    let output = std::process::Command::new("sh").args(["-c", command]).output();
    let output = output.map_err(|error| failed(error.to_string()))?;
    if !output.status.success() {
        return Err(failed(format!("{}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim())));
    }
    parse(&output.stdout).ok_or_else(|| failed("it printed no credentials".to_owned()))
}

/// Credentials as processes, containers and instances tell them.
fn parse(json: &[u8]) -> Option<Found> {
    let told: serde_json::Value = serde_json::from_slice(json).ok()?;
    let text = |key: &str| told[key].as_str().map(str::to_owned);
    let expires = text("Expiration").and_then(|moment| moment.parse::<jiff::Timestamp>().ok());
    let session_token = text("SessionToken").or_else(|| text("Token"));
    let credentials =
        Credentials { access_key: text("AccessKeyId")?, secret_key: text("SecretAccessKey")?, session_token };
    Some(Found { credentials, expires })
}

/// ECS, and EKS Pod Identity.
async fn container() -> Result<Option<Found>, String> {
    let url = match variable("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI") {
        Some(path) => format!("http://169.254.170.2{path}"),
        None => match variable("AWS_CONTAINER_CREDENTIALS_FULL_URI") {
            Some(url) => url,
            None => return Ok(None),
        },
    };
    let from_file =
        variable("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE").and_then(|path| std::fs::read_to_string(path).ok());
    let token =
        from_file.map(|token| token.trim().to_owned()).or_else(|| variable("AWS_CONTAINER_AUTHORIZATION_TOKEN"));
    let headers = token.map(|token| ("authorization", token)).into_iter().collect();
    let body = fetch(Ask { method: "GET", url: &url, headers })
        .await
        .map_err(|why| format!("container credentials: {why}"))?;
    parse(&body).map(Some).ok_or_else(|| format!("container credentials: {url} told none"))
}

/// An EC2 instance's role, by the instance metadata service, version 2.
async fn instance() -> Option<Found> {
    let named = variable("AWS_EC2_METADATA_SERVICE_ENDPOINT");
    let base = format!("{}/latest", named.as_deref().unwrap_or("http://169.254.169.254").trim_end_matches('/'));
    let wish = ("x-aws-ec2-metadata-token-ttl-seconds", "300".to_owned());
    let token = fetch(Ask { method: "PUT", url: &format!("{base}/api/token"), headers: vec![wish] }).await.ok()?;
    let token = String::from_utf8(token).ok()?;
    let path = format!("{base}/meta-data/iam/security-credentials/");
    let header = || vec![("x-aws-ec2-metadata-token", token.clone())];
    let role = String::from_utf8(fetch(Ask { method: "GET", url: &path, headers: header() }).await.ok()?).ok()?;
    let role = role.lines().next()?.trim();
    parse(&fetch(Ask { method: "GET", url: &format!("{path}{role}"), headers: header() }).await.ok()?)
}
