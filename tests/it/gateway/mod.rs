//! The router before real workers: servers that answer, refuse, break off, fall silent, are killed.

mod world; // gateways, and workers that do as they are told
mod way; // what passes, and how
mod falls; // workers that fail, and who is asked instead
mod kills; // real processes, killed
mod leaves; // clients that leave, gateways that stop
mod bounds; // slow, huge and many clients
mod places; // where a worker may be
mod feed; // what workers say of their caches
pub(crate) mod publish; // ... where the workers are podlab's own
mod vanish; // ... and then nobody tells any more
mod judge; // ... to vLLM's own router
mod replay; // all that was decided, once more
mod meters; // what a scrape gets, by vLLM's names
mod learn; // workers whose speed nobody told
mod fuzz; // what no client should send
mod secrets; // keys and prompts that nobody else sees
