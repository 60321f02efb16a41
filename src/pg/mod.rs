//! The fence: the only place that touches PostgreSQL's internals, and the only one with `unsafe`.
//!
//! What a caller may rely on: every function is safe for any input in any order, on the backend's
//! one thread. An ERROR of PostgreSQL comes back as [`Raised`], whole. After a [`Raised`] nothing
//! but raising an error is right, unless it came out of [`deadline::attempt`], which has rolled its
//! subtransaction back.
//! A [`Value`] owns what it points to, or borrows it from the [`Call`] that it is an argument of.

mod answer;
pub mod array;
mod block;
pub mod call;
mod catalog;
pub mod claims;
pub mod counters;
mod creator;
pub mod cursor;
pub mod deadline;
pub mod first;
pub mod function;
pub mod grasp;
mod guard;
pub mod identity;
mod invalidation;
pub mod json;
mod known;
pub mod latch;
mod local;
pub mod lock;
pub mod memory;
pub mod notice;
pub mod owner;
pub mod probe;
mod raw;
mod refusal;
pub mod rehearsal;
pub mod role;
pub mod session;
pub mod settings;
pub mod spi;
pub mod store;
pub mod table;
pub mod text;
pub mod vacuum;
mod value;
pub mod watch;
pub mod worker;

pub use answer::Answer;
pub use call::Call;
pub use guard::{Raised, ServerError};
pub use pgrx::pg_sys::panic::ErrorReport;
pub use refusal::Refusal;
pub use role::Role;
pub use value::Value;
