//! Copies between a device and the tiers below it, aside from its passes.
//!
//! Three steps, of which the middle one is for another thread. [`Worker::begin`] orders on the device what a copy needs (the
//! pages of a store in one piece, which later passes cannot change any more) and tells the places of a load. [`Copying::wait`]
//! moves the bytes while passes go on: over PCIe on a stream of its own, into and out of memory that the device reaches by
//! itself; and checks and seals blocks. [`Worker::end`] puts what came where it belongs, if its request is still there.

use crate::block::Passport;
use crate::depot::Parcel;
use crate::engine::Worker;
use crate::hardware::{Hardware, Landing};
use crate::pages::PageId;
use crate::tensor::{Lane, Mark};
use candle_core::Tensor;
use kvcache::{BlockHash, OpId, RequestId, Tokens};
use sim::transport::{Move, Way};

/// A move under way.
#[derive(Debug)]
pub struct Copying {
    asked: Move,
    parcels: Vec<Parcel>,
    objects: Vec<Object>,
    /// How many objects of a load are there, as far as one knows before they are looked at.
    there: u32,
    lane: Lane,
    passport: Passport,
}

/// One object of it.
#[derive(Debug)]
struct Object {
    /// Which parcel.
    parcel: usize,
    /// Its blocks that are copied: their numbers in the request, and what they are called.
    blocks: Vec<(u32, BlockHash)>,
    /// The first block of the parcel, and up to which token a load fills the request.
    first: u32,
    wanted: Tokens,
    /// Its pages in one piece on the device: of a store from the beginning, of a load when it came.
    staged: Option<Tensor>,
    mark: Mark,
}

/// A move whose bytes have been copied.
#[derive(Debug)]
pub struct Copied(Copying);

impl Copied {
    /// Which.
    #[must_use]
    pub fn op(&self) -> OpId {
        self.0.asked.op
    }
}

impl Copying {
    /// Copies, and returns when all is copied. What cannot be copied, or is not what it should be, is left out.
    #[must_use]
    pub fn wait(mut self) -> Copied {
        match self.asked.way {
            Way::Store => self.fetch(),
            Way::Load => self.bring(),
            Way::Probe | Way::Put => {} // nothing of the device's
        }
        Copied(self)
    }

    fn fetch(&mut self) {
        for object in &mut self.objects {
            let Some(staged) = object.staged.take() else { continue };
            let names: Vec<BlockHash> = object.blocks.iter().map(|(_, name)| *name).collect();
            let fetched = self.lane.fetch(&staged, &object.mark, &self.passport, &names);
            self.parcels[object.parcel].1 = fetched.ok();
        }
    }

    fn bring(&mut self) {
        for (number, object) in self.objects.iter_mut().enumerate() {
            let Some(bytes) = &self.parcels[object.parcel].1 else { continue };
            let blocks = bytes.chunks_exact(self.passport.bytes());
            let payloads: Result<Vec<&[u8]>, _> = object
                .blocks
                .iter()
                .filter_map(|(at, name)| Some((blocks.clone().nth((at - object.first) as usize)?, name)))
                .map(|(block, name)| self.passport.open(block, *name))
                .collect();
            let staged = payloads.ok().map(|payloads| self.lane.bring(&payloads));
            match staged {
                Some(Ok(staged)) => object.staged = staged,
                _ => {
                    self.there = self.there.min(number as u32);
                    return;
                }
            }
        }
    }
}

impl Worker {
    /// Whether moves are copied aside, by [`Worker::begin`] and [`Worker::end`]; if not, [`Worker::carry`] is as good.
    #[must_use]
    pub fn copies_aside(&self) -> bool {
        matches!(self.hardware, Hardware::Device { .. })
    }

    /// Begins a move. `None` where workers of the kind copy by themselves.
    pub fn begin(&mut self, asked: Move, parcels: Vec<Parcel>) -> Option<Copying> {
        let lane = self.hardware.lane()?;
        let mut copying =
            Copying { objects: Vec::new(), there: 0, lane, passport: self.passport.clone(), asked, parcels };
        match copying.asked.way {
            Way::Store => self.begin_store(&mut copying),
            Way::Load => self.begin_load(&mut copying),
            Way::Probe | Way::Put => {}
        }
        Some(copying)
    }

    fn begin_store(&mut self, copying: &mut Copying) {
        let Self { hardware, tables, requests, block, root, .. } = self;
        let request = copying.asked.request;
        let Some(live) = requests.get_mut(&request) else { return };
        let held = tables.pages(request);
        for (parcel, (carried, _)) in copying.parcels.iter().enumerate().filter(|(_, (_, bytes))| bytes.is_none()) {
            let (first, last) = (carried.from.0 / block.0, carried.upto.blocks(*block).0);
            let Some(pages) = held.get(first as usize..last as usize).filter(|pages| !pages.is_empty()) else {
                continue;
            };
            let blocks = (first..last).map(|at| (at, live.name(at, carried.upto, *block, *root))).collect();
            let (staged, mark) = hardware.stage(pages, &copying.lane);
            copying.objects.push(Object { parcel, blocks, first, wanted: carried.upto, staged, mark });
        }
    }

    fn begin_load(&mut self, copying: &mut Copying) {
        let Self { tables, requests, passport, block, root, .. } = self;
        let request = copying.asked.request;
        for (parcel, (carried, bytes)) in copying.parcels.iter().enumerate() {
            let Some(bytes) = bytes else { return };
            copying.there += 1;
            // Whose request has gone meanwhile: nobody asks for what comes.
            let Some(live) = requests.get_mut(&request) else { continue };
            // The last token is computed in any case, and has no block yet where it would begin one.
            let wanted = carried.upto.min(Tokens(live.tokens.len() as u32 - 1));
            let (first, last) = (carried.from.0 / block.0, carried.upto.blocks(*block).0);
            if bytes.len() != (last - first) as usize * passport.bytes() {
                copying.there -= 1;
                return;
            }
            tables.grow(request, wanted);
            let from = first.max(tables.full(request).0);
            let upto = last.min(wanted.blocks(*block).0);
            let blocks = (from..upto).map(|at| (at, live.name(at, carried.upto, *block, *root))).collect();
            let mark = Mark::default();
            copying.objects.push(Object { parcel, blocks, first, wanted, staged: None, mark });
        }
    }

    /// Ends a move: gives how many of its objects were carried, and all of them with the bytes of those that were stored.
    pub fn end(&mut self, copied: Copied) -> (u32, Vec<Parcel>) {
        let Copying { asked, parcels, objects, there, .. } = copied.0;
        let came = match asked.way {
            Way::Store => parcels.iter().take_while(|(_, bytes)| bytes.is_some()).count() as u32,
            Way::Load => self.land(asked.request, objects, there),
            Way::Probe | Way::Put => 0,
        };
        (came, parcels)
    }

    /// Puts the first `there` objects of a load on their pages; gives how many came.
    fn land(&mut self, request: RequestId, objects: Vec<Object>, there: u32) -> u32 {
        for (number, object) in objects.into_iter().enumerate().take(there as usize) {
            if !self.requests.contains_key(&request) {
                return there;
            }
            // Who was preempted meanwhile has no pages here any more.
            let held = self.tables.pages(request);
            let places: Option<Vec<PageId>> =
                object.blocks.iter().map(|(at, _)| held.get(*at as usize).copied()).collect();
            let Some(places) = places else { return there };
            if self.hardware.land(&places, object.staged) == Landing::Failed {
                return number as u32;
            }
            self.tables.computed(request, object.wanted);
        }
        there
    }
}
