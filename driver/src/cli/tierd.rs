//! `podlab tierd`: L2 as a daemon.

use super::tierd_args::TierdArgs;
use super::warn;
use crate::emulate::stop_signal;
use crate::failure::Failure;
use crate::tierd::{Daemon, Ended, PeerAddress, Segment, Settings};
use kvcache::{Eviction, Hold, NodeConfig, Span};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Where POSIX shared memory lies on Linux.
const SHARED_MEMORY: &str = "/dev/shm";

pub(super) fn run(args: &TierdArgs) -> Result<(), Failure> {
    let settings = settings(args)?;
    let threads = args
        .threads
        .map_or_else(|| std::thread::available_parallelism().map_or(1, |cores| cores.get().min(4)), usize::from);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build();
    let runtime = runtime.map_err(|error| Failure::Failed(format!("cannot start the runtime: {error}")))?;
    runtime.block_on(serve(args, settings))
}

fn settings(args: &TierdArgs) -> Result<Settings, Failure> {
    let node = NodeConfig {
        block: args.block,
        eviction: args.eviction,
        hold: args.hold.into(),
        watermark: args.watermark,
        put_ttl: Span::from_secs(30),
        ..NodeConfig::new(args.bytes)
    };
    if args.bytes / u64::from(args.block) == 0 || args.bytes / u64::from(args.block) >= u64::from(u32::MAX) {
        return Err(Failure::Usage(format!(
            "--bytes {} in blocks of --block {}: a segment has 1 to 4294967294 blocks; change one of the two",
            args.bytes, args.block
        )));
    }
    let mut members = args.peers.clone();
    let mut own = 0;
    if members.is_empty() {
        if args.advertise.is_some() {
            return Err(Failure::Usage(
                "--advertise: nobody to tell it; name the other daemons with --peers".to_owned(),
            ));
        }
    } else {
        let advertised = args.advertise.clone().ok_or_else(|| {
            Failure::Usage(
                "--peers needs --advertise http://HOST:PORT: this daemon's address as the others have it in their --peers".to_owned(),
            )
        })?;
        members.push(advertised.clone());
        members.sort();
        members.dedup();
        own = members.iter().position(|member| *member == advertised).unwrap_or_default();
    }
    if let Some(hook) = &args.test_hook
        && !hook.starts_with('/')
    {
        return Err(Failure::Usage(format!("--test-hook {hook}: a path begins with /")));
    }
    Ok(Settings {
        node,
        members,
        own,
        idle: Duration::from_secs_f64(args.idle.as_secs_f64()),
        access_log: args.access_log,
        test_hook: args.test_hook.clone(),
        ..Settings::new(args.bytes)
    })
}

async fn serve(args: &TierdArgs, settings: Settings) -> Result<(), Failure> {
    let listener = tokio::net::TcpListener::bind(args.listen).await.map_err(|error| {
        Failure::Failed(format!("--listen {}: {error}; name another address, or port 0 for a free port", args.listen))
    })?;
    let settings = Settings { connections: allow_connections(settings.connections), ..settings };
    let address = listener.local_addr().map_err(|error| Failure::Failed(error.to_string()))?;
    let segment = Segment::create(Path::new(SHARED_MEMORY), &args.shm, args.bytes, args.mode)
        .map_err(|error| Failure::Failed(format!("--shm {}: {error}", args.shm)))?;
    let segment = Arc::new(segment);
    let mut life = [0; 8];
    getrandom::fill(&mut life)
        .map_err(|error| Failure::Failed(format!("the system has no random numbers: {error}")))?;
    warn(&format!(
        "tierd on http://{address}: {} MiB in {} (blocks of {} KiB, {}); Ctrl-C stops",
        args.bytes >> 20,
        segment.path().display(),
        args.block >> 10,
        args.eviction,
    ));
    if !settings.members.is_empty() {
        let others: Vec<String> = settings
            .members
            .iter()
            .enumerate()
            .filter(|(place, _)| *place != settings.own)
            .map(|(_, member)| member.to_string())
            .collect();
        warn(&format!("objects are shared with {}", others.join(", ")));
    }
    if !address.ip().is_loopback() {
        warn(
            "warning: whoever reaches this address can read and store objects: keep it within a network that you trust",
        );
    }
    let stop = {
        let segment = segment.clone();
        async move {
            if stop_signal().await.is_err() {
                // Without signals there is still the second way to stop a process.
                std::future::pending::<()>().await;
            }
            warn(
                "stopping: no new requests; objects that are coming in may take 30 s more; Ctrl-C again stops at once",
            );
            tokio::spawn(async move {
                if stop_signal().await.is_ok() {
                    segment.remove();
                    warn("stopped with requests in flight");
                    std::process::exit(130);
                }
            });
        }
    };
    match Daemon::new(settings, segment.clone(), u64::from_le_bytes(life)).run(listener, stop).await {
        Ended::Stopped => Ok(()),
        Ended::Old => {
            Err(Failure::Failed("it has run for 200 days, as long as its clock goes: start it again".to_owned()))
        }
        Ended::Segment(error) => Err(Failure::Failed(format!(
            "{}: {error}; what was stored is lost: start it again",
            segment.path().display()
        ))),
    }
}

/// Lets the process have as many sockets as the system allows; gives how many connections that is, at most `most`.
fn allow_connections(most: usize) -> usize {
    let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return most };
    let allowed = setrlimit(Resource::RLIMIT_NOFILE, hard, hard).and_then(|()| getrlimit(Resource::RLIMIT_NOFILE));
    // Some are for the segment, for other daemons, for the process itself.
    allowed.map_or(most, |(soft, _)| most.min(usize::try_from(soft).unwrap_or(most).saturating_sub(200).max(16)))
}

/// How a lease on what is not there is answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum HoldArg {
    /// When the object arrives, or shortly before its client gives up
    #[default]
    Always,
    /// The same, but at once where nobody is putting it
    Pending,
}

impl From<HoldArg> for Hold {
    fn from(hold: HoldArg) -> Self {
        match hold {
            HoldArg::Always => Self::Always,
            HoldArg::Pending => Self::Pending,
        }
    }
}

/// Reads the size of a block.
pub(super) fn block(text: &str) -> Result<u32, String> {
    match crate::lab::units::bytes(text)? {
        bytes @ 1..=0x4000_0000 => Ok(bytes as u32),
        _ => Err("a block has 1B to 1GiB".to_owned()),
    }
}

/// Reads the permissions of the segment.
pub(super) fn mode(text: &str) -> Result<u32, String> {
    match u32::from_str_radix(text, 8) {
        Ok(mode @ 0o600..=0o666) if mode & 0o111 == 0 => Ok(mode),
        _ => Err("octal permissions to read and write are expected: 600, 640, 660, 644, 664 or 666".to_owned()),
    }
}

/// Reads the name of an eviction policy.
pub(super) fn eviction(text: &str) -> Result<Eviction, String> {
    text.parse().map_err(|error: kvcache::UnknownEviction| error.to_string())
}

/// Reads a daemon's address.
pub(super) fn peer(text: &str) -> Result<PeerAddress, String> {
    text.parse().map_err(|error: crate::tierd::InvalidPeer| error.to_string())
}
