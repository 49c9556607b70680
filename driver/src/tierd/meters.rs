//! What is counted for `/metrics`, in the text format of Prometheus.

use super::peers::Peers;
use super::store::Store;
use std::fmt::{Display, Write};
use std::sync::atomic::{AtomicU64, Ordering};

/// What the store does not count. Counters only grow, but for the last.
#[derive(Debug, Default)]
pub(super) struct Meters {
    /// Objects brought from their owners.
    pub(super) fetched: AtomicU64,
    /// ... that these did not have.
    pub(super) fetch_missed: AtomicU64,
    /// ... that could not be brought.
    pub(super) fetch_failed: AtomicU64,
    /// Objects sent to their owners.
    pub(super) forwarded: AtomicU64,
    /// ... that did not arrive.
    pub(super) forward_failed: AtomicU64,
    /// Objects that were not what their seal says.
    pub(super) corrupt: AtomicU64,
    /// How often the segment was not where clients look for it.
    pub(super) restored: AtomicU64,
    /// Answers by the first digit of their status.
    pub(super) answers: [AtomicU64; 6],
    /// Connections that are open.
    pub(super) connections: AtomicU64,
}

/// One more.
pub(super) fn add(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

impl Meters {
    /// What a scrape gets.
    pub(super) fn text(&self, store: &Store, peers: &Peers) -> String {
        let (counts, usage) = store.read(|node| (node.counts(), node.usage()));
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let mut page = Page(String::new());
        page.gauge("objects", "Objects that are there.", usage.objects);
        page.gauge("object_bytes", "Bytes of the objects that are there.", usage.object_bytes);
        page.gauge("capacity_bytes", "Bytes of the segment.", usage.capacity);
        page.gauge("used_bytes", "Bytes of the blocks in use: of objects that are there or being put.", usage.used);
        page.gauge("pinned_bytes", "Bytes of the blocks of leased objects.", usage.pinned);
        page.gauge("writing_bytes", "Bytes of the blocks of objects that are being put.", usage.writing);
        page.gauge("leases", "Leases under way.", usage.leases);
        page.gauge("waits", "Requests held until their object arrives.", usage.waits);
        page.gauge("connections", "Connections that are open.", read(&self.connections));
        page.counter("hits_total", "Leases given.", counts.hits);
        page.counter("hit_bytes_total", "Bytes of the objects that leases were given on.", counts.hit_bytes);
        page.counter("misses_total", "Leases asked for in vain.", counts.misses);
        page.counter("expired_leases_total", "Leases that nobody released in time.", counts.expired);
        page.counter("puts_total", "Puts begun.", counts.puts);
        page.counter("stored_objects_total", "Puts finished.", counts.stored);
        page.counter("stored_bytes_total", "Bytes of the puts finished.", counts.stored_bytes);
        page.counter("present_total", "Puts of what was there, or being put (409).", counts.present);
        page.counter("no_room_total", "Puts refused for want of room (507).", counts.no_room);
        page.counter("unfinished_puts_total", "Puts that were broken off.", counts.aborted);
        page.counter("discarded_puts_total", "Puts that took too long.", counts.discarded);
        page.counter("evictions_total", "Objects evicted.", counts.evicted);
        page.counter("evicted_bytes_total", "Bytes of the objects evicted.", counts.evicted_bytes);
        page.counter("fetched_total", "Objects brought from their owners.", read(&self.fetched));
        page.counter("fetch_misses_total", "Objects that their owners did not have.", read(&self.fetch_missed));
        page.counter(
            "fetch_failures_total",
            "Objects that could not be brought from their owners.",
            read(&self.fetch_failed),
        );
        page.counter("forwarded_total", "Objects sent to their owners.", read(&self.forwarded));
        page.counter("forward_failures_total", "Objects that stayed here alone.", read(&self.forward_failed));
        page.counter("corrupt_total", "Objects that were not what their checksum says.", read(&self.corrupt));
        page.counter(
            "segment_restored_total",
            "How often clients would not have found the segment.",
            read(&self.restored),
        );
        let answers = self.answers.iter().enumerate().skip(2);
        page.family(
            "answers_total",
            "counter",
            "Answers, by class of status.",
            answers.map(|(class, count)| (format!("{{class=\"{class}xx\"}}"), read(count))),
        );
        let peers = peers.others().map(|peer| (format!("{{peer=\"{}\"}}", peer.address), u64::from(peer.is_up())));
        page.family("peer_up", "gauge", "Whether a daemon that shares objects answers.", peers);
        page.0
    }
}

struct Page(String);

impl Page {
    fn gauge(&mut self, name: &str, help: &str, value: u64) {
        self.family(name, "gauge", help, [("", value)]);
    }

    fn counter(&mut self, name: &str, help: &str, value: u64) {
        self.family(name, "counter", help, [("", value)]);
    }

    fn family<L: Display>(&mut self, name: &str, kind: &str, help: &str, samples: impl IntoIterator<Item = (L, u64)>) {
        // A string takes whatever is written to it.
        let _ = writeln!(self.0, "# HELP podlab:tierd_{name} {help}\n# TYPE podlab:tierd_{name} {kind}");
        for (labels, value) in samples {
            let _ = writeln!(self.0, "podlab:tierd_{name}{labels} {value}");
        }
    }
}
