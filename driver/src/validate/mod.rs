//! Does the simulator tell the truth? It is set up as something whose answer is known otherwise, and the two are compared.
//!
//! `theory`: queues, links and caches whose figures can be worked out. `engine`: a real engine's run, predicted from kernels that
//! were measured on its GPU. What is checked, and how near it came, is a [`Check`]
//! whatever it is checked against, and all of them together are a [`Report`].

pub mod check; // a figure, what it should be, and the verdict
pub mod report; // all of them, for people, for programs, and as a folder
pub mod theory; // against formulas
pub mod engine; // against a real engine
pub mod silicon; // against closed loops measured on GPUs

pub use check::Check;
pub use report::Report;
