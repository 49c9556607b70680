//! A connection to one server, or to a cluster. No time-out is its own: whoever asks bounds what is asked.

use super::place::Place;
use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::cluster::ClusterClientBuilder;
use redis::cluster_async::ClusterConnection;
use redis::io::tcp::TcpSettings;
use redis::{AsyncConnectionConfig, Client, Cmd, RedisResult, Value, cmd};
use std::sync::OnceLock;
use std::time::Duration;

/// Longer than any deadline: a cluster's client wants to know.
const NEVER: Duration = Duration::from_secs(3600);

/// A connection. What is sent over it before an answer has come is answered in order (of one server).
pub(super) enum Line {
    One(MultiplexedConnection),
    Many(ClusterConnection),
}

impl Line {
    /// Connects. Whether it is a cluster is asked until that is answered: `is_cluster` keeps the answer.
    pub(super) async fn open(place: &Place, is_cluster: &OnceLock<bool>) -> RedisResult<Self> {
        if place.servers.len() > 1 || is_cluster.get() == Some(&true) {
            return Self::many(place).await;
        }
        let config = AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None);
        let client = Client::open(place.servers[0].clone())?;
        let mut one = client.get_multiplexed_async_connection_with_config(&config).await?;
        if is_cluster.get().is_none() {
            let asked = cmd("INFO").arg("cluster").query_async::<String>(&mut one).await;
            // Who may not ask is taken for one server, and asks again at the next connection; a connection lost here says nothing.
            match asked {
                Ok(told) if *is_cluster.get_or_init(|| told.contains("cluster_enabled:1")) => {
                    return Self::many(place).await;
                }
                Err(error) if error.is_io_error() => return Err(error),
                Ok(_) | Err(_) => {}
            }
        }
        Ok(Self::One(one))
    }

    async fn many(place: &Place) -> RedisResult<Self> {
        let client = ClusterClientBuilder::new(place.servers.clone())
            .tcp_settings(TcpSettings::default().set_nodelay(true))
            .connection_timeout(NEVER)
            .response_timeout(NEVER)
            // Keys move: that is said once, and followed.
            .retries(2)
            .build()?;
        Ok(Self::Many(client.get_async_connection().await?))
    }

    /// Sends a command, once this is polled, and waits for its answer.
    pub(super) async fn ask(&self, asked: Cmd) -> RedisResult<Value> {
        match self {
            Self::One(one) => one.clone().req_packed_command(&asked).await,
            Self::Many(many) => many.clone().req_packed_command(&asked).await,
        }
    }
}
