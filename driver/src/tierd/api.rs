//! The wire: `PUT /v1/kv/BUCKET/KEY`, `POST .../leases`, `POST /v1/leases/ID/release`, and what operators and other daemons ask.

use super::body::Payload;
use super::fetch::{Brought, SEAL, Transfers, read_seal};
use super::life::Busy;
use super::meters::{Meters, add};
use super::path::{Object, Route, Terms, Ticket, patience};
use super::peers::{Peer, Peers};
use super::put::{Broken, Patience, discard, receive};
use super::say;
use super::segment::Segment;
use super::server::Phase;
use super::settings::Settings;
use super::spread::{Cursor, Seal};
use super::store::{Leased, Store, Waiting, Wish};
use hyper::body::{Body, Incoming};
use hyper::header::{ALLOW, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, EXPECT, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use kvcache::{Grant, Hold, PutRefusal, Span, Time};
use serde_json::json;
use std::fmt::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio::time::timeout;

type Reply = Response<Payload>;

/// How long an owner may take where a client does not say how long it waits.
const LEAST: Duration = Duration::from_millis(200);

/// What all connections share.
#[derive(Debug)]
pub(super) struct Api {
    pub(super) store: Arc<Store>,
    pub(super) segment: Arc<Segment>,
    pub(super) transfers: Arc<Transfers>,
    pub(super) peers: Peers,
    pub(super) meters: Arc<Meters>,
    pub(super) settings: Settings,
    /// Tells leases of this life from those of another.
    pub(super) life: u64,
    pub(super) phase: watch::Receiver<Phase>,
}

impl Api {
    /// Answers a request; the connection is busy until the answer is gone.
    pub(super) async fn answer(self: Arc<Self>, request: Request<Incoming>, busy: Busy) -> Reply {
        let began = Instant::now();
        let (route, method) = (Route::read(request.uri().path()), request.method().clone());
        let line = self.settings.access_log.then(|| told(&method, &route));
        let reply = match route {
            Err(problem) => refuse(StatusCode::BAD_REQUEST, &problem),
            Ok(route) if self.is_draining() && !matches!(route, Some(Route::Metrics | Route::Release(_))) => {
                let _ = route;
                let mut reply = refuse(StatusCode::SERVICE_UNAVAILABLE, "the daemon is stopping");
                reply.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
                reply
            }
            Ok(Some(route)) => self.go(route, method, request).await,
            Ok(None) => self.elsewhere(&request).await,
        };
        add(&self.meters.answers[usize::from(reply.status().as_u16() / 100).min(5)]);
        if let Some(line) = line {
            let bytes = reply.body().size_hint().exact().unwrap_or_default();
            say(&format!("{line} {} {bytes} {:.3} ms", reply.status().as_u16(), began.elapsed().as_secs_f64() * 1e3));
        }
        reply.map(|body| body.of(busy))
    }

    fn is_draining(&self) -> bool {
        *self.phase.borrow() != Phase::Serving
    }

    async fn go(&self, route: Route, method: Method, request: Request<Incoming>) -> Reply {
        match (route, method) {
            (Route::Object(object), Method::PUT) => self.put(object, request, Whence::Client).await,
            (Route::Peer(object), Method::PUT) => self.put(object, request, Whence::Peer).await,
            (Route::Peer(object), Method::GET) => self.send(object, &request).await,
            (Route::Lease(object), Method::POST) => self.lease(object, &request).await,
            (Route::Release(ticket), Method::POST) => {
                let own = ticket.filter(|ticket| ticket.life == self.life);
                match own.map(|ticket| self.store.release(ticket.id)) {
                    Some(Ok(())) => json_reply(StatusCode::OK, "{}".to_owned()),
                    _ => refuse(StatusCode::NOT_FOUND, "no such lease is under way"),
                }
            }
            (Route::Health, Method::GET | Method::HEAD) => json_reply(StatusCode::OK, r#"{"status":"ok"}"#.to_owned()),
            (Route::Metrics, Method::GET) => {
                let mut reply = Reply::new(Payload::text(self.meters.text(&self.store, &self.peers)));
                let text = HeaderValue::from_static("text/plain; version=0.0.4");
                reply.headers_mut().insert(CONTENT_TYPE, text);
                reply
            }
            (route, _) => {
                let mut reply = refuse(StatusCode::METHOD_NOT_ALLOWED, "this path is asked for in another way");
                reply.headers_mut().insert(
                    ALLOW,
                    HeaderValue::from_static(match route {
                        Route::Object(_) => "PUT",
                        Route::Peer(_) => "GET, PUT",
                        Route::Lease(_) | Route::Release(_) => "POST",
                        Route::Health => "GET, HEAD",
                        Route::Metrics => "GET",
                    }),
                );
                reply
            }
        }
    }

    async fn elsewhere(&self, request: &Request<Incoming>) -> Reply {
        let hook = self.settings.test_hook.as_deref();
        if hook == Some(request.uri().path()) && request.method() == Method::POST {
            let segment = self.segment.clone();
            return match tokio::task::spawn_blocking(move || segment.replace()).await {
                Ok(Ok(())) => json_reply(StatusCode::OK, "{}".to_owned()),
                _ => refuse(StatusCode::INTERNAL_SERVER_ERROR, "the segment could not be replaced"),
            };
        }
        refuse(StatusCode::NOT_FOUND, "there is nothing at this path")
    }

    async fn put(&self, object: Object, mut request: Request<Incoming>, whence: Whence) -> Reply {
        let seal = request.headers().get(SEAL).and_then(|seal| seal.to_str().ok()).and_then(read_seal);
        if whence == Whence::Peer && seal.is_none() {
            return refuse(StatusCode::BAD_REQUEST, "an object from another daemon has a seal");
        }
        let Some(len) = announced(&request) else {
            return refuse(StatusCode::LENGTH_REQUIRED, "an object is put with its Content-Length");
        };
        let put_ttl = Duration::from_secs_f64(self.settings.node.put_ttl.as_secs_f64());
        let until = tokio::time::Instant::now() + put_ttl;
        let limits = Patience { piece: self.settings.patience, until };
        let writing = match self.store.begin_put(object.name, len) {
            Ok(writing) => writing,
            Err(refusal) => {
                let status = match refusal {
                    PutRefusal::Present => StatusCode::CONFLICT,
                    PutRefusal::NoRoom => StatusCode::INSUFFICIENT_STORAGE,
                    PutRefusal::Empty => StatusCode::BAD_REQUEST,
                    PutRefusal::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
                };
                // Who asked before sending has sent nothing; what could never fit is not worth reading.
                let unread = request.headers().contains_key(EXPECT) || matches!(refusal, PutRefusal::TooLarge { .. });
                if !unread {
                    let _ = discard(request.body_mut(), limits).await;
                }
                return refuse(status, &refusal.to_string());
            }
        };
        let sealing = (self.peers.any() || seal.is_some()).then(|| Seal::new(&object.name, len));
        let cursor = Cursor::new(writing.fragments());
        let found = match receive(request.body_mut(), cursor, &self.segment, sealing, limits).await {
            Ok(found) => found,
            Err(Broken::Slow) => return refuse(StatusCode::REQUEST_TIMEOUT, "the object did not come in time"),
            Err(Broken::Cut) => return refuse(StatusCode::BAD_REQUEST, "the object ended before its Content-Length"),
            Err(Broken::Segment(error)) => {
                say(&format!("error: {}: {error}", self.segment.path().display()));
                return refuse(StatusCode::INTERNAL_SERVER_ERROR, "the segment cannot be written");
            }
        };
        if seal.is_some_and(|seal| seal != found) {
            add(&self.meters.corrupt);
            return refuse(StatusCode::UNPROCESSABLE_ENTITY, "the object is not what its seal says");
        }
        if whence == Whence::Client
            && let Some(owner) = self.peers.owner(&object.name)
        {
            // Where it does not get there, it is here all the same.
            self.transfers.forward(owner, &object, &writing, len, found).await;
        }
        match writing.finish(found) {
            Ok(()) => json_reply(StatusCode::OK, "{}".to_owned()),
            Err(_) => refuse(StatusCode::REQUEST_TIMEOUT, "the object did not come in time"),
        }
    }

    async fn lease(&self, object: Object, request: &Request<Incoming>) -> Reply {
        let terms = match Terms::read(request.uri().query(), self.settings.longest_lease) {
            Ok(terms) => terms,
            Err(problem) => return refuse(StatusCode::BAD_REQUEST, &problem),
        };
        let until = self.until(terms.timeout);
        let owner = self.peers.owner(&object.name);
        if let Some(owner) = owner {
            self.look(owner, &object, until).await;
        }
        let leased = match self.store.lease(object.name, terms.ttl, until) {
            Wish::Granted(leased) => Some(leased),
            Wish::TooMany => return refuse(StatusCode::SERVICE_UNAVAILABLE, "too many leases are under way"),
            Wish::Absent => None,
            Wish::Waiting(waiting) => match owner {
                Some(owner) => self.wait_for_owner(owner, &object, until, waiting).await,
                None => self.wait(waiting).await,
            },
        };
        match leased {
            Some(leased) => {
                let text = lease_text(self.life, leased.grant());
                let mut reply = Reply::new(Payload::about(leased, text));
                reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
                reply
            }
            None if terms.timeout.is_zero() => refuse(StatusCode::NOT_FOUND, "no such object"),
            None => refuse(StatusCode::GATEWAY_TIMEOUT, "no such object"),
        }
    }

    /// When a client that waits so long is to be answered.
    fn until(&self, timeout: Duration) -> Time {
        let held = timeout.saturating_sub(self.settings.margin).min(self.settings.longest_hold);
        self.store.now() + span(held)
    }

    /// Waits for an object, unless the daemon stops.
    async fn wait(&self, mut waiting: Waiting) -> Option<Leased> {
        tokio::select! {
            leased = waiting.answer() => leased,
            () = self.stopping() => None,
        }
    }

    /// Resolves when the daemon is told to stop.
    async fn stopping(&self) {
        let mut phase = self.phase.clone();
        // A daemon that is gone has stopped, too.
        let _ = phase.wait_for(|phase| *phase != Phase::Serving).await;
    }

    /// Where nobody will wait here for an object that is another daemon's, that one is asked and must answer soon.
    async fn look(&self, owner: &Arc<Peer>, object: &Object, until: Time) {
        let left = left(self.store.now(), until);
        let waits = !left.is_zero() && self.settings.node.hold == Hold::Always;
        if !waits && !self.store.read(|node| node.has(&object.name)) {
            let mut shared = self.transfers.fetch(owner, object, Duration::ZERO);
            let _ = timeout(left.max(LEAST), shared.brought()).await;
        }
    }

    /// Waits for an object that is another daemon's, and has it brought.
    async fn wait_for_owner(
        &self,
        owner: &Arc<Peer>,
        object: &Object,
        until: Time,
        mut waiting: Waiting,
    ) -> Option<Leased> {
        let left = || left(self.store.now(), until);
        loop {
            let mut shared = self.transfers.fetch(owner, object, left());
            let brought = tokio::select! {
                leased = waiting.answer() => return leased,
                () = self.stopping() => return None,
                brought = shared.brought() => brought,
            };
            // One that was shared may have been asked for by somebody with less patience.
            if brought != Brought::Missed || left() <= self.settings.margin {
                break;
            }
            // Where the owner does not wait, asking again at once would be a flood.
            if let Ok(leased) = timeout(self.settings.margin, waiting.answer()).await {
                return leased;
            }
        }
        self.wait(waiting).await
    }

    /// Another daemon wants an object of this one.
    async fn send(&self, object: Object, request: &Request<Incoming>) -> Reply {
        let patience = match patience(request.uri().query(), "wait_ms") {
            Ok(patience) => patience.min(self.settings.longest_hold),
            Err(problem) => return refuse(StatusCode::BAD_REQUEST, &problem),
        };
        let until = self.store.now() + span(patience);
        let leased = match self.store.lease(object.name, Span::from_secs(30), until) {
            Wish::Granted(leased) => Some(leased),
            Wish::Waiting(waiting) => self.wait(waiting).await,
            Wish::Absent | Wish::TooMany => None,
        };
        let Some(leased) = leased else { return refuse(StatusCode::NOT_FOUND, "no such object") };
        let seal = format!("{:08x}", leased.grant().seal);
        let mut reply = Reply::new(Payload::leased(self.segment.clone(), object.name, leased));
        reply.headers_mut().insert(SEAL, HeaderValue::from_str(&seal).expect("digits"));
        reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
        reply
    }
}

/// Who puts an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Whence {
    Client,
    Peer,
}

/// The length that a request announces; none where it comes in chunks.
fn announced(request: &Request<Incoming>) -> Option<u64> {
    let exact = request.body().size_hint().exact();
    exact.filter(|len| *len > 0 || request.headers().contains_key(CONTENT_LENGTH))
}

fn span(duration: Duration) -> Span {
    Span::from_nanos(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX / 1000))
}

fn left(now: Time, until: Time) -> Duration {
    if now >= until { Duration::ZERO } else { Duration::from_nanos(until.since(now).0 / 1000) }
}

/// `{"id":"..","offsets":[{"offset":0,"len":1000},..]}`
fn lease_text(life: u64, grant: &Grant) -> String {
    let mut text = format!("{{\"id\":\"{}\",\"offsets\":[", Ticket { life, id: grant.id }.text());
    for (place, fragment) in grant.fragments.iter().enumerate() {
        let comma = if place == 0 { "" } else { "," };
        // A string takes whatever is written to it.
        let _ = write!(text, "{comma}{{\"offset\":{},\"len\":{}}}", fragment.offset, fragment.len);
    }
    text.push_str("]}");
    text
}

fn json_reply(status: StatusCode, text: String) -> Reply {
    let mut reply = Reply::new(Payload::text(text));
    *reply.status_mut() = status;
    reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    reply
}

fn refuse(status: StatusCode, why: &str) -> Reply {
    json_reply(status, json!({ "error": why }).to_string())
}

/// What the log says of a request: a hash for its key, which may hold a tenant's salt.
fn told(method: &Method, route: &Result<Option<Route>, String>) -> String {
    let of = |what: &str, object: &Object| format!("{what} object={} key_bytes={}", object.name, object.key_len);
    let what = match route {
        Ok(Some(Route::Object(object))) => of("object", object),
        Ok(Some(Route::Lease(object))) => of("lease", object),
        Ok(Some(Route::Peer(object))) => of("peer", object),
        Ok(Some(Route::Release(_))) => "release".to_owned(),
        Ok(Some(Route::Health)) => "health".to_owned(),
        Ok(Some(Route::Metrics)) => "metrics".to_owned(),
        Ok(None) => "nothing".to_owned(),
        Err(_) => "malformed".to_owned(),
    };
    // A method may be any word; those that mean something here are short.
    format!("{} {what}", if method.as_str().len() > 7 { "?" } else { method.as_str() })
}
