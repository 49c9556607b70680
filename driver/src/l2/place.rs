//! Where a Redis is, and who is asked for there.

use redis::io::tcp::TcpSettings;
use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo};
use std::fmt;

/// One server, or some of a cluster.
#[derive(Clone)]
pub struct Place {
    pub(super) servers: Vec<ConnectionInfo>,
    shown: String,
}

/// A text that names no place. What it says never repeats the text, which may hold a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPlace {
    /// It is no URL of a Redis.
    #[error(
        "is no Redis URL; redis://[USER:PASSWORD@]HOST[:PORT][/DATABASE] is expected, of a cluster some servers with commas between"
    )]
    NoUrl,
    /// It asks for TLS.
    #[error(
        "asks for TLS (rediss://), which podlab does not speak to a Redis; use redis:// within a network of your own, or through a tunnel"
    )]
    Tls,
}

impl Place {
    /// Reads a URL, or several with commas between: those are servers of a cluster.
    ///
    /// # Errors
    /// [`InvalidPlace`].
    pub fn parse(text: &str) -> Result<Self, InvalidPlace> {
        let servers = text.split(',').map(server).collect::<Result<Vec<_>, _>>()?;
        let shown = servers.iter().map(|server| server.addr().to_string()).collect::<Vec<_>>().join(", ");
        Ok(Self { servers, shown })
    }
}

fn server(text: &str) -> Result<ConnectionInfo, InvalidPlace> {
    let info = text.trim().into_connection_info().map_err(|_| InvalidPlace::NoUrl);
    let info = info.map_err(|error| if is_tls(text) { InvalidPlace::Tls } else { error })?;
    if is_tls(text) || matches!(info.addr(), ConnectionAddr::TcpTls { .. }) {
        return Err(InvalidPlace::Tls);
    }
    // What is asked is small, and asked at once.
    Ok(info.set_tcp_settings(TcpSettings::default().set_nodelay(true)))
}

fn is_tls(text: &str) -> bool {
    ["rediss://", "valkeys://"].iter().any(|scheme| text.trim().starts_with(scheme))
}

/// Host and port, never a user or a password.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Place({})", self.shown)
    }
}
