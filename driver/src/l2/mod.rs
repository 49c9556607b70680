//! L2 in a Redis or a Valkey, one server or a cluster, where workers' bytes are kept for all who serve the same model.
//!
//! What is looked up, loaded and stored, when L2 is left alone, and by when an answer counts is the core's to decide; this
//! asks, and says what came and what was heard. One key holds one object: the blocks of a chunk one after the other, each
//! behind its own header, so that a value says by itself whether it is the right one.
//!
//! Laws: an operation ends by its deadline; where nothing is heard within `silence`, while connecting or for a first byte, it
//! ends then. A connection is one operation's, and is used again only where all was read that had been asked for.

mod place; // where it is
mod line; // a connection
mod trouble; // what goes wrong with one, and who is told
mod remote; // what is asked

pub use place::{InvalidPlace, Place};
pub use remote::{Counts, Named, Remote, Terms};
