//! What AWS's services speak, whichever side of the wire one is on.

pub mod sigv4; // who asks: signing
pub mod verify; // ... and checking
pub mod eventstream; // Amazon's event stream
