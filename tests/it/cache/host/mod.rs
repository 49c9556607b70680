//! Is the host tier right? Naive stores, object by object, live through the same histories.

pub(super) mod model; // LRU and FIFO, object by object
mod stories; // the rules, one short story each
mod worlds; // random histories, checked after every step
mod textbook; // S3-FIFO, ARC and LFU of single objects, by the book
mod policies; // the cache against the book, and laws on prompts of many objects
