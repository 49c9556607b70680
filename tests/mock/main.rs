//! A server with known truth: so many milliseconds to the first token, so many between tokens, faults on request.
//!
//! It says at `/stats` what it really did: how late its own tokens were, how many requests were in flight. Nothing of podlab's
//! client is in it.

use std::time::Duration;
use tokio::net::TcpListener;

mod serve; // a connection
mod proxy; // a bare proxy before another server
mod truth; // what was really done
mod sigv4; // who may ask
mod frames; // Amazon's event stream, by another hand than the client's

/// What the server is like.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    ttft: Duration,
    itl: Duration,
    tokens: u32,
    prompt_tokens: Option<u64>,
    cached_tokens: Option<u64>,
    fault: Option<(String, u64)>,
    /// Bytes of an event stream's payload parts.
    part: usize,
    /// Bytes of a write, to cut what is written anywhere.
    write: usize,
    /// Who may ask for `/endpoints/..`; `None`: anybody.
    keys: Option<sigv4::Keys>,
}

fn main() {
    let mut settings = Settings {
        ttft: Duration::from_millis(50),
        itl: Duration::from_millis(10),
        tokens: 32,
        prompt_tokens: None,
        cached_tokens: None,
        fault: None,
        part: 7,
        write: usize::MAX,
        keys: None,
    };
    let (mut listen, mut proxied) = ("127.0.0.1:0".to_owned(), None);
    let mut arguments = std::env::args().skip(1);
    while let (Some(flag), Some(value)) = (arguments.next(), arguments.next()) {
        let number = || value.parse::<f64>().expect("a number");
        let millis = || Duration::from_secs_f64(number() / 1000.0);
        match flag.as_str() {
            "--listen" => listen = value,
            // No server: copies to another one.
            "--proxy" => proxied = Some(value),
            "--ttft-ms" => settings.ttft = millis(),
            "--itl-ms" => settings.itl = millis(),
            "--tokens" => settings.tokens = number() as u32,
            "--prompt-tokens" => settings.prompt_tokens = Some(number() as u64),
            "--cached-tokens" => settings.cached_tokens = Some(number() as u64),
            "--part" => settings.part = number() as usize,
            "--write" => settings.write = number() as usize,
            // ID:SECRET.
            "--keys" => {
                let (id, secret) = value.split_once(':').expect("ID:SECRET");
                settings.keys = Some(sigv4::Keys { id: id.to_owned(), secret: secret.to_owned() });
            }
            // KIND:EVERY, such as cut:10 for every tenth request.
            "--fault" => {
                let (kind, every) = value.split_once(':').unwrap_or((&value, "1"));
                settings.fault = Some((kind.to_owned(), every.parse().expect("a number")));
            }
            other => panic!("{other} is not known"),
        }
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let listener = TcpListener::bind(listen).await.expect("a port");
        println!("{}", listener.local_addr().expect("an address"));
        match proxied {
            Some(to) => proxy::copy(listener, to).await,
            None => serve::serve(listener, settings).await,
        }
    });
}
