//! Workers that compute.

mod bench; // sequences on pages, computed in parts
mod law; // a token's scores depend on the tokens before it alone
mod oracle; // the same weights in candle's own models
mod reading; // models from files
mod written; // ... of the families that are computed, from a seed
mod families; // ... against candle's own
mod files; // what a tokenizer's folder holds
mod language; // text to tokens and back
mod vocabularies; // ... by the files that models come with
mod templates; // ... chats, by the models' own templates
mod moved; // blocks that leave a worker and come to another
mod script; // the passes that the batcher plans
mod tiers; // bytes below the devices
mod hybrid; // real computation in virtual time
mod served; // real tokens over HTTP
mod taken_back; // ... which nobody wants any more
mod tensors; // the path that a GPU takes, on the CPU
mod redis; // L2 in a real Redis
mod turns; // what one turn of a chat said, found by the next
