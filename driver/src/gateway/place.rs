//! Where a worker may be.
//!
//! Workers come from the command line alone, never from a request, and redirects are not followed. Still a slip there should not
//! make the gateway a way to a cloud's metadata service, which answers whoever asks from inside (CVE-2026-24779 and others).

use crate::bench::target::Origin;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use thiserror::Error;

/// A URL at which no worker may be.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct NoPlace(String);

/// Names by which clouds' metadata services are reached.
const METADATA: [&str; 4] = ["metadata", "metadata.google.internal", "instance-data", "instance-data.ec2.internal"];

/// Reads a worker's URL: `http(s)://host[:port]`, with or without `/v1` behind it.
///
/// # Errors
/// What is wrong with it.
pub fn worker(url: &str) -> Result<Origin, NoPlace> {
    let shown: String = url.chars().take(200).flat_map(char::escape_default).collect();
    let no = |why: &str| NoPlace(format!("{shown}: {why}"));
    if !url.bytes().all(|byte| byte.is_ascii_graphic()) || url.contains(['\\', '%']) {
        return Err(no("only printable ASCII without escapes is expected"));
    }
    let mut origin = Origin::parse(url).map_err(NoPlace)?;
    if !["", "/v1"].contains(&origin.base.as_str()) {
        return Err(no("a worker's URL ends with the port, or with /v1"));
    }
    origin.base.clear();
    if origin.port == 0 {
        return Err(no("0 is no port"));
    }
    let host = origin.host.to_ascii_lowercase();
    match host.strip_prefix('[').map(|rest| rest.strip_suffix(']').unwrap_or(rest)) {
        Some(inner) => {
            let address: Ipv6Addr = inner.parse().map_err(|_| no("an IPv6 address belongs between the brackets"))?;
            check(address.into()).map_err(no)?;
        }
        None => check_name(&host).map_err(no)?,
    }
    Ok(origin)
}

fn check_name(host: &str) -> Result<(), &'static str> {
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    let name = host.strip_suffix('.').unwrap_or(host);
    if name.len() > 253 || name.split('.').any(|label| label.is_empty() || !label.bytes().all(is_letter)) {
        return Err("the host is neither a name nor an address; IPv6 addresses stand in brackets");
    }
    if METADATA.contains(&name) {
        return Err("a cloud's metadata service is no worker");
    }
    // What ends in a number is an address to those who look it up, in whatever base.
    let last = name.rsplit('.').next().unwrap_or_default();
    let is_number = last.bytes().all(|byte| byte.is_ascii_digit()) || last.starts_with("0x");
    if is_number {
        let address: Ipv4Addr = host.parse().map_err(|_| "an IPv4 address has four decimal numbers")?;
        check(address.into())?;
    }
    Ok(())
}

fn check(address: IpAddr) -> Result<(), &'static str> {
    let address = match address {
        IpAddr::V6(v6) => {
            let [first, second, .., last] = v6.segments();
            if v6.is_multicast() || v6.is_unspecified() || first & 0xffc0 == 0xfe80 {
                return Err("an unspecified, link-local or multicast address is no worker's");
            }
            if (first, second, last) == (0xfd00, 0x0ec2, 0x0254) {
                return Err("a cloud's metadata service is no worker");
            }
            match v6.to_ipv4() {
                // ::1 is loopback, not 0.0.0.1.
                Some(v4) if !v6.is_loopback() => v4,
                _ => return Ok(()),
            }
        }
        IpAddr::V4(v4) => v4,
    };
    if address.is_link_local() {
        return Err("a link-local address is no worker's: a cloud's metadata service answers there");
    }
    if address == Ipv4Addr::new(100, 100, 100, 200) {
        return Err("a cloud's metadata service is no worker");
    }
    if address.is_unspecified() || address.is_multicast() || address.is_broadcast() || address.octets()[0] == 0 {
        return Err("an unspecified, broadcast or multicast address is no worker's");
    }
    Ok(())
}
