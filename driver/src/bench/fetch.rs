//! Small things that are asked for once, aside of what is measured.

use super::clock::Clock;
use super::net::Pool;
use super::problem::Problem;
use super::target::Origin;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::body::Bytes;
use std::time::Duration;
use tokio::time::timeout;

/// How long an answer may take: whoever is not there shall not hold up the start.
const PATIENCE: Duration = Duration::from_secs(2);
/// Most bytes of an answer.
const LONGEST: usize = 16 << 20;

/// What is asked for, without a body.
pub(super) struct Ask<'a> {
    pub(super) method: &'a str,
    pub(super) url: &'a str,
    pub(super) headers: Vec<(&'static str, String)>,
}

/// Asks a server without TLS.
pub(super) async fn fetch(ask: Ask<'_>) -> Result<Vec<u8>, String> {
    let (rest, scheme) = (ask.url.split_once("://").map_or("", |(_, rest)| rest), ask.url);
    let path = rest.find('/').map_or("/", |slash| &rest[slash..]);
    let origin = Origin::parse(scheme.split(['?', '#']).next().unwrap_or(scheme))?;
    let pool = Pool::new(Origin { base: String::new(), ..origin }, None, false, Clock::start());
    answer(&pool, ask.method, path, &ask.headers).await.map_err(|problem| problem.said)
}

/// Asks the server of `pool`: the body of a successful answer.
pub(super) async fn answer(
    pool: &Pool,
    method: &str,
    path: &str,
    headers: &[(&'static str, String)],
) -> Result<Vec<u8>, Problem> {
    let asked = async {
        let mut connection = pool.take().await?;
        let uri = if connection.is_http2() {
            format!("{}://{}{path}", if pool.origin().https { "https" } else { "http" }, pool.origin().authority())
        } else {
            path.to_owned()
        };
        let mut request = Request::builder().method(method).uri(uri);
        if !connection.is_http2() {
            request = request.header("host", pool.origin().authority());
        }
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        let request = request.body(Full::new(Bytes::new())).map_err(|error| Problem::new("client", error))?;
        let response = connection.send(request).await.map_err(|error| Problem::new("connection", error))?;
        let status = response.status();
        let (mut body, mut bytes) = (response.into_body(), Vec::new());
        while let Some(frame) = connection.wait(body.frame()).await {
            let frame = frame.map_err(|error| Problem::new("cut", error))?;
            bytes.extend_from_slice(frame.data_ref().map_or(&[][..], |data| data));
            if bytes.len() > LONGEST {
                return Err(Problem::new("too_long", format!("{path}: more than {LONGEST} bytes")));
            }
        }
        pool.give_back(connection);
        if status.is_success() {
            Ok(bytes)
        } else {
            Err(Problem::status(status.as_u16(), &String::from_utf8_lossy(&bytes)))
        }
    };
    match timeout(PATIENCE, asked).await {
        Ok(answer) => answer,
        Err(_) => Err(Problem::new("timeout", format!("{path}: no answer in {} s", PATIENCE.as_secs()))),
    }
}
