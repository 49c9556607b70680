//! Workers that come and go: crashes, scaling, limits, outages, slow nodes.

mod by_hand; // moments worked out by hand
mod missed; // what was planned and did not happen
mod turned_away; // who is refused, and when the next request comes
mod books; // what the books of a fleet say, and whom the router counts
mod fuzz; // random schedules over random clusters
mod autoscaler; // Kubernetes' rules
mod scaling; // fleets that follow their load
mod schedule; // the lab's text, and the endpoint file's fields
