//! The fence: the only place that touches PostgreSQL's internals, and the only one with `unsafe`.
//!
//! What a caller may rely on: every function is safe for any input in any order, on the backend's
//! one thread. An ERROR of PostgreSQL comes back as [`Raised`], whole.
//! A [`Value`] owns what it points to, or borrows it from the [`Call`] that it is an argument of.
//! What is found in a table borrows from the call that opened it.
//!
//! What a caller owes: after an error nothing but raising it is right, be it a [`Raised`] or one
//! that a closure returned out of a function of the fence. The exceptions are
//! [`deadline::attempt`] and [`rehearsal::rehearse`], which have rolled their subtransaction back.
//!
//! What nobody can promise: that a function is declared in SQL to return what it returns. Types of
//! arguments are checked, and so are the columns of returned rows; but a superuser who declares one
//! of the C functions anew, with another result, has read what he wrote as something else.

mod absence;
mod answer;
pub mod array;
mod assignment;
mod block;
pub mod call;
mod catalog;
pub mod citus;
pub mod claims;
pub mod composite;
pub mod condition_variable;
pub mod counters;
mod creator;
pub mod cursor;
pub mod deadline;
pub mod first;
pub mod function;
pub mod grasp;
mod guard;
pub mod identity;
pub mod injection_point;
mod invalidation;
pub mod json;
mod known;
pub mod latch;
mod local;
pub mod lock;
pub mod memory;
pub mod notice;
pub mod owner;
mod page;
pub mod partition;
mod plan;
pub mod predicate;
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
pub mod version;
pub mod watch;
pub mod worker;

pub use answer::Answer;
pub use call::Call;
pub use guard::{Raised, ServerError, without_backtraces};
pub use pgrx::pg_sys::panic::ErrorReport;
pub use refusal::Refusal;
pub use role::Role;
pub use value::Value;
