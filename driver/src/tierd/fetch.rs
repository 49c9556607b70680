//! Objects that belong to other daemons: brought into this one's segment when a client asks, sent to their owner when a
//! client puts them. Several who ask for one object at the same time share one transfer. An owner that does not answer is a
//! miss, and a put that stays here.

use super::body::Payload;
use super::link::Answer;
use super::meters::{Meters, add};
use super::path::Object;
use super::peers::Peer;
use super::put::{Patience, discard, receive};
use super::segment::Segment;
use super::spread::{Cursor, Seal};
use super::store::{Store, Writing};
use hyper::header::{CONTENT_LENGTH, HOST};
use hyper::{Method, Request, Response, StatusCode};
use kvcache::{ObjectName, PutRefusal};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// The header that carries an object's seal.
pub(super) const SEAL: &str = "x-podlab-seal";
/// How long an owner may take for the head of an answer, besides the time that it is asked to wait.
const ANSWER: Duration = Duration::from_millis(1000);
/// How long an owner may be silent within an object.
const SILENCE: Duration = Duration::from_millis(1000);
/// How long a client's put waits for its owner: clients give up a put after five seconds.
const FORWARD: Duration = Duration::from_millis(2500);

/// What came of a transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Brought {
    /// The object is here.
    Here,
    /// Its owner has none.
    Missed,
    /// Its owner does not answer, or there is no room.
    Failed,
}

/// What transfers need.
#[derive(Debug)]
pub(super) struct Transfers {
    pub(super) store: Arc<Store>,
    pub(super) segment: Arc<Segment>,
    pub(super) meters: Arc<Meters>,
    under_way: Mutex<BTreeMap<ObjectName, watch::Receiver<Option<Brought>>>>,
}

/// A transfer that somebody shares in.
pub(super) struct Shared(watch::Receiver<Option<Brought>>);

impl Shared {
    /// What came of it.
    pub(super) async fn brought(&mut self) -> Brought {
        self.0.wait_for(Option::is_some).await.ok().and_then(|brought| *brought).unwrap_or(Brought::Failed)
    }
}

impl Transfers {
    pub(super) fn new(store: Arc<Store>, segment: Arc<Segment>, meters: Arc<Meters>) -> Arc<Self> {
        Arc::new(Self { store, segment, meters, under_way: Mutex::new(BTreeMap::new()) })
    }

    /// The transfer of an object from its owner, which may wait for it so long: the one under way, else a new one.
    pub(super) fn fetch(self: &Arc<Self>, owner: &Arc<Peer>, object: &Object, wait: Duration) -> Shared {
        let mut under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(shared) = under_way.get(&object.name) {
            return Shared(shared.clone());
        }
        let (sender, receiver) = watch::channel(None);
        under_way.insert(object.name, receiver.clone());
        let (this, owner, object) = (self.clone(), owner.clone(), object.clone());
        tokio::spawn(async move {
            let brought = this.bring(&owner, &object, wait).await;
            let meters = &this.meters;
            add(match brought {
                Brought::Here => &meters.fetched,
                Brought::Missed => &meters.fetch_missed,
                Brought::Failed => &meters.fetch_failed,
            });
            // Whoever asks from now on gets a new one.
            this.under_way.lock().unwrap_or_else(PoisonError::into_inner).remove(&object.name);
            let _ = sender.send(Some(brought));
        });
        Shared(receiver)
    }

    async fn bring(&self, owner: &Peer, object: &Object, wait: Duration) -> Brought {
        if !owner.may_call(self.store.now()) {
            return Brought::Failed;
        }
        let uri = owner.uri(&object.raw, &format!("?wait_ms={}", wait.as_millis()));
        let request = || request(Method::GET, owner, &uri).body(Payload::text("")).expect("a path that was read");
        let Ok(mut answer) = owner.link.call(request, wait + ANSWER).await else {
            owner.failed(self.store.now());
            return Brought::Failed;
        };
        let patience = Patience { piece: SILENCE, until: Instant::now() + Duration::from_secs(30) };
        if answer.response.status() != StatusCode::OK {
            let missed = matches!(answer.response.status(), StatusCode::NOT_FOUND | StatusCode::GATEWAY_TIMEOUT);
            self.end(owner, answer, patience).await;
            return if missed { Brought::Missed } else { Brought::Failed };
        }
        let (Some(len), Some(seal)) = (length(&answer.response), seal_of(&answer.response)) else {
            owner.answered(self.store.now());
            return Brought::Failed;
        };
        let writing = match self.store.begin_put(object.name, len) {
            Ok(writing) => writing,
            // Somebody has put it here meanwhile: who waits for it is told when it is there.
            Err(PutRefusal::Present) => return Brought::Here,
            Err(_) => return Brought::Failed,
        };
        let (cursor, own) = (Cursor::new(writing.fragments()), Seal::new(&object.name, len));
        let received = receive(answer.response.body_mut(), cursor, &self.segment, Some(own), patience).await;
        let Ok(found) = received else {
            owner.failed(self.store.now());
            return Brought::Failed;
        };
        if found != seal {
            add(&self.meters.corrupt);
            owner.answered(self.store.now());
            return Brought::Missed;
        }
        let is_here = writing.finish(seal).is_ok();
        self.end(owner, answer, patience).await;
        if is_here { Brought::Here } else { Brought::Failed }
    }

    /// An owner has answered; the connection may serve again once all of the answer has been read.
    async fn end(&self, owner: &Peer, mut answer: Answer, patience: Patience) {
        owner.answered(self.store.now());
        if discard(answer.response.body_mut(), patience).await.is_ok() {
            owner.link.keep(answer);
        }
    }

    /// Sends an object that lies in the blocks of a put to its owner. Gives whether it is there now.
    pub(super) async fn forward(&self, owner: &Peer, object: &Object, writing: &Writing, len: u64, seal: u32) -> bool {
        let is_there = self.send(owner, object, writing, len, seal).await;
        add(if is_there { &self.meters.forwarded } else { &self.meters.forward_failed });
        is_there
    }

    async fn send(&self, owner: &Peer, object: &Object, writing: &Writing, len: u64, seal: u32) -> bool {
        if !owner.may_call(self.store.now()) {
            return false;
        }
        let uri = owner.uri(&object.raw, "");
        let request = || {
            let request =
                request(Method::PUT, owner, &uri).header(CONTENT_LENGTH, len).header(SEAL, format!("{seal:08x}"));
            request.body(Payload::own(self.segment.clone(), writing.fragments())).expect("a path that was read")
        };
        let Ok(answer) = owner.link.call(request, FORWARD).await else {
            owner.failed(self.store.now());
            return false;
        };
        let is_there = matches!(answer.response.status(), StatusCode::OK | StatusCode::CONFLICT);
        let patience = Patience { piece: SILENCE, until: Instant::now() + SILENCE };
        self.end(owner, answer, patience).await;
        is_there
    }
}

fn request(method: Method, owner: &Peer, uri: &str) -> hyper::http::request::Builder {
    Request::builder().method(method).uri(uri).header(HOST, owner.host())
}

fn length<T>(response: &Response<T>) -> Option<u64> {
    response.headers().get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

fn seal_of<T>(response: &Response<T>) -> Option<u32> {
    read_seal(response.headers().get(SEAL)?.to_str().ok()?)
}

/// Reads a seal: eight hexadecimal digits.
pub(super) fn read_seal(text: &str) -> Option<u32> {
    (text.len() == 8).then(|| u32::from_str_radix(text, 16).ok()).flatten()
}
