//! The flags of `podlab tierd`.

use super::tierd::{HoldArg, block, eviction, mode, peer};
use super::whole;
use crate::lab::units::{bytes, span};
use crate::tierd::PeerAddress;
use clap::Args;
use kvcache::{Eviction, Span};
use std::net::SocketAddr;

const EXAMPLES: &str = "\
Examples:
  podlab tierd                                     # 1 GiB in /dev/shm/ai_toolkit_cache, on 127.0.0.1:9200
  podlab tierd --bytes 64GiB --hold pending        # a prompt that nobody has stored does not wait
  podlab tierd --listen 10.0.0.1:9200 --advertise http://10.0.0.1:9200 --peers http://10.0.0.2:9200,http://10.0.0.3:9200

LMCache finds it at sagemaker-hyperpod://HOST:9200 with shared_memory_name ai_toolkit_cache.";

/// L2 as a daemon.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct TierdArgs {
    /// Where to listen; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:9200", value_name = "ADDR:PORT")]
    pub(super) listen: SocketAddr,
    /// The segment's name below /dev/shm, as clients are told it
    #[arg(long, default_value = "ai_toolkit_cache", value_name = "NAME")]
    pub(super) shm: String,
    /// Size of the segment; all of it is reserved at the start
    #[arg(long, default_value = "1GiB", value_parser = bytes, value_name = "SIZE")]
    pub(super) bytes: u64,
    /// An object takes whole blocks of this size
    #[arg(long, default_value = "64KiB", value_parser = block, value_name = "SIZE")]
    pub(super) block: u32,
    /// Who may open the segment: 600 the same user, 660 its group, too (in-process LMCache opens it to write)
    #[arg(long, default_value = "600", value_parser = mode, value_name = "OCTAL")]
    pub(super) mode: u32,
    /// Which object goes when room is needed: lru, s3-fifo, arc, fifo, lfu
    #[arg(long, default_value = "lru", value_parser = eviction, value_name = "POLICY")]
    pub(super) eviction: Eviction,
    /// Make room ahead of need where the segment is fuller than so many thousandths of it; 1000: on demand only
    #[arg(long, default_value_t = 900, value_parser = whole::up_to::<u16>(1000), value_name = "N")]
    pub(super) watermark: u16,
    /// How a lease on what is not there is answered
    #[arg(long, value_enum, default_value_t, value_name = "HOW")]
    pub(super) hold: HoldArg,
    /// The other daemons that share objects; the same ones, in any order, everywhere
    #[arg(long, value_delimiter = ',', value_parser = peer, value_name = "URL,..", requires = "advertise")]
    pub(super) peers: Vec<PeerAddress>,
    /// This daemon's address, as the others have it in their --peers
    #[arg(long, value_parser = peer, value_name = "URL")]
    pub(super) advertise: Option<PeerAddress>,
    /// A line on stderr for each request: hashes for keys, never keys
    #[arg(long)]
    pub(super) access_log: bool,
    /// Threads that serve [default: as many as there are cores, at most 4]
    #[arg(long, value_parser = whole::up_to::<u16>(256), value_name = "N")]
    pub(super) threads: Option<u16>,
    /// For tests: how long a connection may stay open with nothing on it
    #[arg(long, hide = true, default_value = "75s", value_parser = span, value_name = "TIME")]
    pub(super) idle: Span,
    /// For tests: a POST to this path puts a new segment in place of the old one, with the same bytes
    #[arg(long, hide = true, value_name = "PATH")]
    pub(super) test_hook: Option<String>,
}
