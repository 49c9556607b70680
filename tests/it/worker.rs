//! Workers that compute.

mod bench; // sequences on pages, computed in parts
mod law; // a token's scores depend on the tokens before it alone
mod oracle; // the same weights in candle's own models
mod reading; // models from files
mod language; // text to tokens and back
mod moved; // blocks that leave a worker and come to another
mod script; // the passes that the batcher plans
mod tiers; // bytes below the devices
mod hybrid; // real computation in virtual time
mod served; // real tokens over HTTP
mod redis; // L2 in a real Redis
mod turns; // what one turn of a chat said, found by the next
