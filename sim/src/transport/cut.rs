//! What is stopped on its way: a load whose time is over, and all that a worker had under way whose process died.

use super::transit::{Line, Load, PoolBytes, Put, Store};
use super::{Part, Transport, What, number};
use kvcache::{Blocks, Contact, Done, Time, WorkerId};

/// Bytes that the parts of an operation have brought, in the order of [`Part::CARRIED`]; `None`: not under way.
type Brought = [Option<u64>; Part::CARRIED.len()];

impl Transport {
    /// A load's deadline: what is on its way does not come any more. What has come counts, as far as it is a prefix.
    ///
    /// Objects flow in order, each over all its ways: of a part that has brought so much of its bytes, so much of the
    /// objects have come.
    pub(super) fn cut_short(&mut self, index: u32) {
        let transit = &self.transits[index as usize];
        let What::Load(load) = transit.what else { return };
        let Load { from, host, upto, lease, contact, object_bytes, pool, .. } = load;
        let asking = transit.under_way & Part::Wait.bit() != 0;
        let lasted = self.now.since(transit.began);
        let brought = self.stop(index);
        let [of_host, network, of_pool, onward] = brought;
        let live = self.end_lease(lease);
        let objects = |bytes: u128| Blocks((bytes / u128::from(object_bytes.max(1))) as u32);
        // Of `all`, so many bytes came, or all of them: whole objects, of which only the last may be smaller.
        let part_of = |all: Blocks, came: Option<u64>| came.map_or(all, |bytes| objects(bytes.into()).min(all));
        // What lies elsewhere is taken to lie evenly among the others.
        let network = network.map(|bytes| pool.of_network(bytes));
        let promised = if asking || !live { Blocks::ZERO } else { upto - host };
        let in_host = network.map_or(promised, |bytes| objects(bytes).min(promised)).min(part_of(promised, of_pool));
        let onto_device = in_host.min(part_of(promised, onward));
        self.count_load(&load, asking, brought);
        let device = match of_host {
            Some(_) => from + part_of(host - from, of_host),
            None => host + onto_device,
        };
        let heard = self.config.pool.is_none_or(|access| lasted >= access.round_trip);
        let contact = if asking && contact == Contact::Answered && !heard { Contact::Silent } else { contact };
        let transit = &mut self.transits[index as usize];
        if transit.under_way & Part::Outside.bit() != 0 {
            // Whoever carries the bytes may still be writing: it ends when that has, with no more than would have come.
            let upto = upto.min(device.max(from));
            transit.what = What::Load(Load { upto, lease: None, ..load });
            transit.under_way = Part::Outside.bit();
            return;
        }
        self.answer(index, Ok(Done::Loaded { device, host: host + in_host, pool: contact }));
    }

    /// The process of a worker dies: what it had under way stops where it is, and is not answered. Nobody gives back what
    /// it had leased in the pool, or ends what it had begun to put there: that is over when its time is. O(operations).
    ///
    /// # Panics
    /// Where something ended by `now` that [`Transport::run`] has not been told to end.
    pub fn abandon(&mut self, worker: WorkerId, now: Time) {
        self.now = self.now.max(now);
        for index in 0..self.transits.len() as u32 {
            let transit = &self.transits[index as usize];
            if transit.worker == worker && transit.under_way != 0 {
                self.abandon_one(index);
            }
        }
        self.lines[worker.index()] = Line::default();
        self.arrived.retain(|arrived| arrived.worker != worker);
    }

    fn abandon_one(&mut self, index: u32) {
        let transit = &self.transits[index as usize];
        let (what, under_way) = (transit.what, transit.under_way);
        let brought = self.stop(index);
        match what {
            What::Load(load) => self.count_load(&load, under_way & Part::Wait.bit() != 0, brought),
            What::Store(store) => self.count_store(&store, under_way & Part::Turn.bit() != 0, brought),
            What::Probe { .. } | What::Failed { .. } => {}
        }
        self.vacate(index);
    }

    /// What a load has moved that is stopped.
    fn count_load(&mut self, load: &Load, asking: bool, [of_host, network, of_pool, onward]: Brought) {
        let PoolBytes { all, .. } = load.pool;
        let came = if asking { 0 } else { load.pool.came(network, of_pool) };
        self.count_pool(load.pool.part(came));
        let of_l1 = of_host.unwrap_or(load.host_bytes);
        self.moved.host_to_device += u128::from(of_l1) + u128::from(came.min(onward.unwrap_or(all)));
    }

    /// The same of a store.
    fn count_store(&mut self, store: &Store, in_line: bool, [of_host, network, of_pool, _]: Brought) {
        if !store.copied {
            self.moved.device_to_host += u128::from(of_host.unwrap_or(0));
        } else if matches!(store.put, Put::Begun(..)) && !in_line {
            self.count_pool(store.pool.part(store.pool.came(network, of_pool)));
        }
    }

    /// Stops all parts of an operation that are under way.
    fn stop(&mut self, index: u32) -> Brought {
        Part::CARRIED.map(|part| {
            let transit = &self.transits[index as usize];
            if transit.under_way & part.bit() == 0 {
                return None;
            }
            let link = self.ways.link(transit.worker, part, matches!(transit.what, What::Store(_)));
            let bytes = self.links[link as usize].cancel(number(index, part), self.now);
            self.agenda.schedule(link, self.links[link as usize].deadline());
            Some(bytes.expect("what has ended by now was told before"))
        })
    }
}

impl PoolBytes {
    /// Of all, what `bytes` over the network stand for.
    fn of_network(self, bytes: u64) -> u128 {
        u128::from(bytes) * u128::from(self.all) / u128::from(self.elsewhere.max(1))
    }

    /// What its slowest way has brought of all of it.
    fn came(self, network: Option<u64>, of_pool: Option<u64>) -> u64 {
        let of_pool = of_pool.unwrap_or(self.all);
        network.map_or(of_pool, |bytes| of_pool.min(self.of_network(bytes).min(u128::from(self.all)) as u64))
    }

    /// `came` of it, and what of that crossed the network.
    fn part(self, came: u64) -> Self {
        let across = u128::from(came) * u128::from(self.elsewhere) / u128::from(self.all.max(1));
        Self { all: came, elsewhere: across as u64 }
    }
}
