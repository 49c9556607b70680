//! Blocks that leave a worker's pages as bytes, and come to them.
//!
//! Each block says which tokens it was computed for, which model computed it, and has a checksum: what is not exactly the
//! block that is missing is taken for nothing.

use crate::depot::Parcel;
use crate::engine::{Live, Worker};
use crate::pages::PageId;
use kvcache::{BlockHash, Identity, RequestId, Salt, Tokens};
use sim::transport::{Move, Way};

impl Worker {
    /// What chains of tokens of this worker's model begin with.
    pub(crate) fn root_of(model: &str, block: Tokens) -> BlockHash {
        // Whoever computes is the only tenant.
        let salt = Salt::for_tenant("", None).expect("no client chose a salt");
        Identity { model, dtype: "f16", block, salt: &salt, adapter: "" }.root()
    }

    /// Carries a move out: gives how many of its objects it could carry, and all of them with the bytes of those that were
    /// stored.
    pub fn carry(&mut self, asked: &Move, mut parcels: Vec<Parcel>) -> (u32, Vec<Parcel>) {
        if self.copies_aside() {
            // One after the other, where nobody has another thread for it.
            let copying = self.begin(asked.clone(), parcels).expect("it copies aside");
            return self.end(copying.wait());
        }
        let came = match asked.way {
            Way::Load => self.load(asked.request, &parcels),
            Way::Store => {
                self.store(asked.request, &mut parcels);
                parcels.iter().take_while(|(_, bytes)| bytes.is_some()).count() as u32
            }
            // Those are no worker's: L2 is asked.
            Way::Probe | Way::Put => 0,
        };
        (came, parcels)
    }

    /// Copies objects of a request off the device, but for those whose bytes are there. What cannot be copied stays without.
    fn store(&mut self, request: RequestId, parcels: &mut [Parcel]) {
        let Self { hardware, tables, requests, passport, block, root, .. } = self;
        let (Some(pages), Some(live)) = (hardware.pages(), requests.get_mut(&request)) else { return };
        let held = tables.pages(request);
        for (carried, bytes) in parcels.iter_mut().filter(|(_, bytes)| bytes.is_none()) {
            let (first, last) = (carried.from.0 / block.0, carried.upto.blocks(*block).0);
            if last as usize > held.len() {
                continue;
            }
            let mut blocks = Vec::with_capacity((last - first) as usize * passport.bytes());
            for at in first..last {
                let name = live.name(at, carried.upto, *block, *root);
                passport.export(pages, held[at as usize], name, &mut blocks);
            }
            *bytes = Some(blocks.into());
        }
    }

    /// Brings objects of a request to the device, in order; gives how many came before the first that is missing, or is not
    /// what it should be. What is on the device already is left as it is.
    fn load(&mut self, request: RequestId, parcels: &[Parcel]) -> u32 {
        let mut came = 0;
        for (carried, bytes) in parcels {
            let Some(bytes) = bytes else { break };
            if !self.load_one(request, carried.from, carried.upto, bytes) {
                break;
            }
            came += 1;
        }
        came
    }

    fn load_one(&mut self, request: RequestId, from: Tokens, upto: Tokens, bytes: &[u8]) -> bool {
        let Self { hardware, tables, requests, passport, block, root, .. } = self;
        // Whose request has gone meanwhile: nobody asks for what came.
        let (Some(pages), Some(live)) = (hardware.pages(), requests.get_mut(&request)) else { return true };
        // The last token is computed in any case, and has no block yet where it would begin one.
        let wanted = upto.min(Tokens(live.tokens.len() as u32 - 1));
        let (first, last) = (from.0 / block.0, upto.blocks(*block).0);
        if bytes.len() != (last - first) as usize * passport.bytes() {
            return false;
        }
        tables.grow(request, wanted);
        let there = tables.full(request).0;
        for (at, bytes) in (first..last).zip(bytes.chunks_exact(passport.bytes())) {
            if at < there || at >= wanted.blocks(*block).0 {
                continue;
            }
            let page: PageId = tables.pages(request)[at as usize];
            let name = live.name(at, upto, *block, *root);
            if passport.import(bytes, name, pages, page).is_err() {
                return false;
            }
        }
        tables.computed(request, wanted);
        true
    }
}

impl Live {
    /// What block `at` of an object that ends at `upto` is called: by its tokens and all before it.
    pub(crate) fn name(&mut self, at: u32, upto: Tokens, block: Tokens, root: BlockHash) -> BlockHash {
        let of = |at: u32| &self.tokens[(at * block.0) as usize..(((at + 1) * block.0).min(upto.0)) as usize];
        while self.names.len() < at as usize {
            let number = self.names.len() as u32;
            let before = self.names.last().copied().unwrap_or(root);
            self.names.push(before.then(&self.tokens[(number * block.0) as usize..((number + 1) * block.0) as usize]));
        }
        let before = if at == 0 { root } else { self.names[at as usize - 1] };
        before.then(of(at))
    }
}
