//! A load whose time is over: what has come counts, as far as it is a prefix.

use super::transit::{Load, PoolBytes};
use super::{Part, Transport, What, number};
use kvcache::{Blocks, Contact, Done};

impl Transport {
    /// A load's deadline: what is on its way does not come any more.
    ///
    /// Objects flow in order, each over all its ways: of a part that has brought so much of its bytes, so much of the
    /// objects have come.
    pub(super) fn cut_short(&mut self, index: u32) {
        let transit = &self.transits[index as usize];
        let What::Load(Load { from, host, upto, lease, contact, object_bytes, host_bytes, pool }) = transit.what else {
            return;
        };
        let asking = transit.under_way & Part::Wait.bit() != 0;
        let lasted = self.now.since(transit.began);
        let [of_host, network, of_pool, onward] = Part::CARRIED.map(|part| self.stop(index, part));
        let live = self.end_lease(lease);
        let objects = |bytes: u128| Blocks((bytes / u128::from(object_bytes.max(1))) as u32);
        // Of `all`, so many bytes came, or all of them: whole objects, of which only the last may be smaller.
        let part_of = |all: Blocks, came: Option<u64>| came.map_or(all, |bytes| objects(bytes.into()).min(all));
        let PoolBytes { all, elsewhere } = pool;
        // What lies elsewhere is taken to lie evenly among the others.
        let network = network.map(|bytes| u128::from(bytes) * u128::from(all) / u128::from(elsewhere.max(1)));
        let promised = if asking || !live { Blocks::ZERO } else { upto - host };
        let in_host = network.map_or(promised, |bytes| objects(bytes).min(promised)).min(part_of(promised, of_pool));
        let onto_device = in_host.min(part_of(promised, onward));
        // What its slowest way has brought, in bytes.
        let of_pool = of_pool.unwrap_or(all);
        let came =
            if asking { 0 } else { network.map_or(of_pool, |bytes| of_pool.min(bytes.min(u128::from(all)) as u64)) };
        let across = (u128::from(came) * u128::from(elsewhere) / u128::from(all.max(1))) as u64;
        self.count_pool(PoolBytes { all: came, elsewhere: across });
        let of_l1 = of_host.unwrap_or(host_bytes);
        self.moved.host_to_device += u128::from(of_l1) + u128::from(came.min(onward.unwrap_or(all)));
        let device = match of_host {
            Some(_) => from + part_of(host - from, of_host),
            None => host + onto_device,
        };
        let heard = self.config.pool.is_none_or(|access| lasted >= access.round_trip);
        let contact = if asking && contact == Contact::Answered && !heard { Contact::Silent } else { contact };
        self.answer(index, Ok(Done::Loaded { device, host: host + in_host, pool: contact }));
    }

    /// Stops a part, if it is under way: the bytes that it has brought.
    fn stop(&mut self, index: u32, part: Part) -> Option<u64> {
        let transit = &self.transits[index as usize];
        if transit.under_way & part.bit() == 0 {
            return None;
        }
        let link = self.ways.link(transit.worker, part, false);
        let bytes = self.links[link as usize].cancel(number(index, part), self.now);
        self.agenda.schedule(link, self.links[link as usize].deadline());
        bytes
    }
}
