use std::ops::Range;

/// Tokens in a block, in all that is timed.
pub const BLOCK: usize = 16;

/// An index of which worker holds which prefix: what all that are compared have in common.
///
/// Blocks are counted from the start of a prompt; only full ones count. What is held is closed under prefixes: a store
/// of `from..to` follows blocks `0..from` that the worker holds, and a removal takes the last ones of a branch.
pub trait Contender {
    /// What the index calls the blocks of a prompt: all that storing, removing and matching need.
    type Keys;
    /// The part of it that a match wants.
    type Query;
    /// A change of one block, in the form in which the index takes it.
    type Event;

    /// Who it is.
    const NAME: &'static str;
    /// Whether a change has been made when the call returns, without another thread.
    const INLINE: bool;

    /// An empty index for `workers` workers and blocks of `unit` tokens.
    fn new(workers: u16, unit: usize) -> Self;

    /// Makes the keys that a match wants, and throws them away.
    fn hash(&mut self, tokens: &[u32]);
    /// The keys of all full blocks.
    fn keys(&mut self, tokens: &[u32]) -> Self::Keys;
    /// The part of the keys that a match wants.
    fn query(&self, keys: &Self::Keys) -> Self::Query;

    /// Finds who holds how much, and keeps the answer. May take what is in `query`.
    fn matches(&mut self, query: &mut Self::Query);
    /// Hashes and matches.
    fn ask(&mut self, tokens: &[u32]);
    /// The answer to the last match: for each worker, how many leading blocks it holds.
    fn answer(&self, overlap: &mut [u32]);

    /// Hashes, and stores all full blocks.
    fn insert(&mut self, worker: u16, tokens: &[u32]);
    /// `worker` holds these blocks now.
    fn store(&mut self, worker: u16, keys: &Self::Keys, blocks: Range<usize>);
    /// `worker` holds these blocks no more; told last block first.
    fn remove(&mut self, worker: u16, keys: &Self::Keys, blocks: Range<usize>);
    /// `worker` holds nothing any more.
    fn clear(&mut self, worker: u16);

    /// The event that says that `worker` stored this block.
    fn stored(&self, worker: u16, keys: &Self::Keys, block: usize) -> Self::Event;
    /// The event that says that `worker` removed this block.
    fn removed(&self, worker: u16, keys: &Self::Keys, block: usize) -> Self::Event;
    /// What an event says happened.
    fn apply(&mut self, event: Self::Event);
    /// Returns when all changes so far can be seen.
    fn settle(&mut self);
}

/// The worker with the least to do: blocks of the prompt that it does not hold, and what it has waiting (`load`, in
/// blocks). The first of equals. The same code for all.
///
/// # Panics
/// Where there is no worker.
#[inline]
#[must_use]
pub fn choose(overlap: &[u32], blocks: u32, load: &[u32]) -> u16 {
    let costs = overlap.iter().zip(load).map(|(held, load)| blocks - held + load);
    let (worker, _) = costs.enumerate().min_by_key(|&(_, cost)| cost).expect("there is a worker");
    worker as u16
}
