//! What is asked of a Redis. Each operation runs in a thread of L2's own and calls back, once.

use super::line::Line;
use super::place::Place;
use super::trouble::{Trouble, Voice};
use futures_util::StreamExt;
use futures_util::future::join_all;
use futures_util::stream::{self, FuturesOrdered};
use kvcache::Contact;
use redis::{Cmd, RedisResult, Value, cmd};
use sim::transport::Answer;
use std::fmt;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::time::{Instant, sleep_until, timeout_at};

/// Connections that are kept for the next operation.
const KEPT: usize = 16;

/// How it is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// How long to wait for a connection, and for a first byte.
    pub silence: Duration,
    /// Values under way at a time, of one operation.
    pub in_flight: usize,
    /// After so long without use an object goes. `None`: the Redis decides.
    pub ttl: Option<Duration>,
}

/// Objects by name, all of one length.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Named {
    /// Their keys.
    pub names: Vec<String>,
    /// Bytes of each.
    pub length: usize,
}

/// What happened so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Objects that came, before anybody looked whether they are right.
    pub fetched: u64,
    /// Objects that were put.
    pub put: u64,
    /// Objects that were not what they should be, and were removed.
    pub refused: u64,
    /// Operations on which nothing was heard, or that were refused.
    pub failed: u64,
}

struct Inner {
    place: Place,
    terms: Terms,
    voice: Voice,
    is_cluster: OnceLock<bool>,
    idle: Mutex<Vec<Line>>,
    counts: [AtomicU64; 4],
}

/// An L2 elsewhere. Dropped, it gives up what is under way.
pub struct Remote {
    inner: Arc<Inner>,
    runtime: Option<Runtime>,
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Remote").field("place", &self.inner.place).finish_non_exhaustive()
    }
}

impl Drop for Remote {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Remote {
    /// Asks nobody yet. `tell` hears of trouble, in lines for people.
    ///
    /// # Errors
    /// Where its thread cannot be started.
    pub fn new(place: Place, terms: Terms, tell: impl Fn(&str) + Send + Sync + 'static) -> std::io::Result<Self> {
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = runtime.worker_threads(1).thread_name("l2").enable_all().build()?;
        let voice = Voice::new(place.to_string(), Box::new(tell));
        let (is_cluster, idle, counts) = (OnceLock::new(), Mutex::default(), Default::default());
        let inner = Arc::new(Inner { place, terms, voice, is_cluster, idle, counts });
        Ok(Self { inner, runtime: Some(runtime) })
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        if let Some(runtime) = &self.runtime {
            runtime.spawn(task);
        }
    }

    /// How many of the objects are there, up to the first that is not. What is there and has another length goes.
    pub fn probe(&self, of: Named, until: Instant, done: impl FnOnce(Answer) + Send + 'static) {
        let inner = Arc::clone(&self.inner);
        self.spawn(async move { done(inner.run(&Ask::Probe, &of, until).await.0) });
    }

    /// Brings objects, up to the first that is not there, and what has come by the deadline.
    pub fn fetch(&self, of: Named, until: Instant, done: impl FnOnce(Answer, Vec<Vec<u8>>) + Send + 'static) {
        let inner = Arc::clone(&self.inner);
        self.spawn(async move {
            let (answer, values) = inner.run(&Ask::Fetch, &of, until).await;
            done(answer, values);
        });
    }

    /// Puts objects that are not there; `bytes` are theirs.
    pub fn put(
        &self,
        of: Named,
        bytes: Vec<impl AsRef<[u8]> + Send + Sync + 'static>,
        until: Instant,
        done: impl FnOnce(Answer) + Send + 'static,
    ) {
        let inner = Arc::clone(&self.inner);
        let bytes = bytes.into_iter().map(|bytes| Arc::new(bytes) as Shared).collect();
        self.spawn(async move { done(inner.run(&Ask::Put(bytes), &of, until).await.0) });
    }

    /// An object is not what it should be: it goes.
    pub fn refuse(&self, name: String) {
        let inner = Arc::clone(&self.inner);
        inner.add(Count::Refused, 1);
        self.spawn(async move {
            let until = Instant::now() + inner.terms.silence;
            inner.run(&Ask::Unlink, &Named { names: vec![name], length: 0 }, until).await;
        });
    }

    /// What happened so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let [fetched, put, refused, failed] = self.inner.counts.each_ref().map(|count| count.load(Ordering::Relaxed));
        Counts { fetched, put, refused, failed }
    }
}

/// Bytes of an object, wherever they lie.
type Shared = Arc<dyn AsRef<[u8]> + Send + Sync>;

/// What to do with objects.
enum Ask {
    Probe,
    Fetch,
    Put(Vec<Shared>),
    Unlink,
}

#[derive(Clone, Copy)]
enum Count {
    Fetched,
    Put,
    Refused,
    Failed,
}

/// What came of it: how many, and, of a fetch, their bytes. `clean`: nothing is owed on the connection.
#[derive(Default)]
struct Got {
    came: usize,
    values: Vec<Vec<u8>>,
    clean: bool,
}

impl Inner {
    fn add(&self, what: Count, count: usize) {
        self.counts[what as usize].fetch_add(count as u64, Ordering::Relaxed);
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Line>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks, and says what came and what was heard.
    async fn run(&self, ask: &Ask, of: &Named, until: Instant) -> (Answer, Vec<Vec<u8>>) {
        let (came, values, contact) = match self.attempt(ask, of, until).await {
            Ok(got) => {
                self.voice.well();
                (got.came, got.values, Contact::Answered)
            }
            Err(trouble) => {
                self.add(Count::Failed, 1);
                self.voice.trouble(trouble);
                (0, Vec::new(), trouble.contact())
            }
        };
        match ask {
            Ask::Fetch => self.add(Count::Fetched, came),
            Ask::Put(_) | Ask::Probe | Ask::Unlink => {}
        }
        (Answer { came: came as u32, contact }, values)
    }

    /// On a connection that was kept, if there is one. It may have been cut meanwhile: then once more, on a new one.
    async fn attempt(&self, ask: &Ask, of: &Named, until: Instant) -> Result<Got, Trouble> {
        if let Some(line) = { self.idle().pop() } {
            match self.once(&line, ask, of, until).await {
                // Nor are the others of any use then.
                Err(Trouble::Dropped | Trouble::Unreachable) => self.idle().clear(),
                outcome => {
                    if matches!(outcome, Err(Trouble::Silent)) {
                        self.idle().clear(); // a way that is dead says so on none of them
                    }
                    return self.keep(line, outcome);
                }
            }
        }
        let soon = (Instant::now() + self.terms.silence).min(until);
        let opened = timeout_at(soon, Line::open(&self.place, &self.is_cluster)).await;
        let line = opened.map_err(|_| Trouble::Silent)??;
        let outcome = self.once(&line, ask, of, until).await;
        self.keep(line, outcome)
    }

    fn keep(&self, line: Line, outcome: Result<Got, Trouble>) -> Result<Got, Trouble> {
        let mut idle = self.idle();
        if outcome.as_ref().is_ok_and(|got| got.clean) && idle.len() < KEPT {
            idle.push(line);
        }
        outcome
    }

    async fn once(&self, line: &Line, ask: &Ask, of: &Named, until: Instant) -> Result<Got, Trouble> {
        match ask {
            Ask::Probe => {
                let there = self.lengths(line, of, until).await?;
                Ok(Got { came: there.iter().take_while(|there| **there).count(), values: Vec::new(), clean: true })
            }
            Ask::Fetch => self.values(line, of, until).await,
            Ask::Put(bytes) => self.put(line, of, bytes, until).await,
            Ask::Unlink => self.unlink(line, &of.names, until).await,
        }
    }

    /// Which objects are there, with their length.
    async fn lengths(&self, line: &Line, of: &Named, until: Instant) -> Result<Vec<bool>, Trouble> {
        let soon = (Instant::now() + self.terms.silence).min(until);
        let asked = join_all(of.names.iter().map(|name| line.ask(command("STRLEN", name))));
        let answers = timeout_at(soon, asked).await.map_err(|_| Trouble::Silent)?;
        let (mut there, mut wrong) = (Vec::with_capacity(answers.len()), Vec::new());
        for (answer, name) in answers.into_iter().zip(&of.names) {
            let right = match answer.map_err(Trouble::from).and_then(served) {
                Ok(Value::Int(0)) => Ok(false),
                Ok(Value::Int(length)) if length as usize == of.length => Ok(true),
                Ok(Value::Int(_)) | Err(Trouble::WrongValue) => {
                    wrong.push(name.clone());
                    Ok(false)
                }
                Ok(_) => Err(Trouble::Garbage),
                Err(trouble) => Err(trouble),
            };
            there.push(right?);
        }
        if !wrong.is_empty() {
            self.add(Count::Refused, wrong.len());
            self.voice.trouble(Trouble::WrongValue);
            self.unlink(line, &wrong, soon).await?;
        }
        Ok(there)
    }

    /// Objects, in order. A short question goes ahead of them: its answer is the first byte that `silence` bounds, as a value
    /// may be long on its way.
    async fn values(&self, line: &Line, of: &Named, until: Instant) -> Result<Got, Trouble> {
        let began = Instant::now();
        let Some(name) = of.names.first() else { return Ok(Got { clean: true, ..Got::default() }) };
        let mut first = pin!(line.ask(command("STRLEN", name)));
        let asked: Vec<_> = of.names.iter().map(|name| line.ask(self.get(name))).collect();
        let mut all = pin!(stream::iter(asked).buffered(self.terms.in_flight));
        let (mut got, mut heard) = (Got::default(), false);
        loop {
            let limit = if heard { until } else { until.min(began + self.terms.silence) };
            tokio::select! {
                biased;
                answer = &mut first, if !heard => {
                    match answer.map_err(Trouble::from).and_then(served) {
                        Ok(_) | Err(Trouble::WrongValue) => heard = true,
                        Err(trouble) => return Err(trouble),
                    }
                }
                answer = all.next() => {
                    match answer.map(|answer| answer.map_err(Trouble::from).and_then(served)) {
                        Some(Ok(Value::BulkString(value))) => {
                            heard = true;
                            got.came += 1;
                            got.values.push(value);
                        }
                        None => {
                            got.clean = heard;
                            return Ok(got);
                        }
                        Some(Ok(Value::Nil)) => return Ok(got),
                        Some(Ok(_)) => return got.short(heard, Trouble::Garbage, &self.voice),
                        Some(Err(trouble)) => return got.short(heard, trouble, &self.voice),
                    }
                }
                () = sleep_until(limit) => return got.short(heard, Trouble::Silent, &self.voice),
            }
        }
    }

    fn get(&self, name: &str) -> Cmd {
        match self.terms.ttl {
            None => command("GET", name),
            // A use renews its life.
            Some(ttl) => {
                let mut asked = command("GETEX", name);
                asked.arg("PX").arg(millis(ttl));
                asked
            }
        }
    }

    fn set(&self, name: &str, bytes: &[u8]) -> Cmd {
        let mut asked = command("SET", name);
        asked.arg(bytes);
        if let Some(ttl) = self.terms.ttl {
            asked.arg("PX").arg(millis(ttl));
        }
        asked
    }

    /// What is there is not sent again: values are long, and their names say what they are.
    async fn put(&self, line: &Line, of: &Named, bytes: &[Shared], until: Instant) -> Result<Got, Trouble> {
        let there = self.lengths(line, of, until).await?;
        let mut new = (0..bytes.len()).filter(|at| !there[*at]);
        let (mut got, mut sets) = (Got::default(), FuturesOrdered::new());
        loop {
            // What is under way is in memory once more.
            while let Some(at) = (sets.len() < self.terms.in_flight).then(|| new.next()).flatten() {
                sets.push_back(line.ask(self.set(&of.names[at], (*bytes[at]).as_ref())));
            }
            let answer = timeout_at(until, sets.next()).await.map_err(|_| Trouble::Silent)?;
            let Some(answer) = answer else { break };
            match answer.map_err(Trouble::from).and_then(served) {
                Ok(_) => self.add(Count::Put, 1),
                Err(trouble) => return got.short(trouble == Trouble::Full, trouble, &self.voice),
            }
        }
        (got.came, got.clean) = (of.names.len(), true);
        Ok(got)
    }

    async fn unlink(&self, line: &Line, names: &[String], until: Instant) -> Result<Got, Trouble> {
        let asked = join_all(names.iter().map(|name| line.ask(command("UNLINK", name))));
        let answers = timeout_at(until, asked).await.map_err(|_| Trouble::Silent)?;
        let came = answers.into_iter().collect::<RedisResult<Vec<_>>>()?.len();
        Ok(Got { came, values: Vec::new(), clean: true })
    }
}

impl Got {
    /// No more comes of it. Where something was heard, that is an answer, but not if all of it was a refusal.
    fn short(self, heard: bool, trouble: Trouble, voice: &Voice) -> Result<Self, Trouble> {
        let refused = self.came == 0
            && matches!(trouble, Trouble::Forbidden | Trouble::Garbage | Trouble::NotServing | Trouble::Refuses);
        if !heard || refused {
            return Err(trouble);
        }
        if trouble != Trouble::Silent {
            voice.trouble(trouble);
        }
        Ok(self)
    }
}

/// A server's refusal is no value.
fn served(value: Value) -> Result<Value, Trouble> {
    value.extract_error().map_err(Trouble::from)
}

fn command(name: &str, key: &str) -> Cmd {
    let mut asked = cmd(name);
    asked.arg(key);
    asked
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX).max(1)
}
