//! Models of what pg_once does, small enough to look at every order of events.
//!
//! Each model has the design that pg_once follows and designs that are known to be wrong. The
//! guarantees are its properties: they hold in every state of the right design, and the checker
//! finds the way to a state where a wrong one breaks them.

pub mod claim;
pub mod turn;
pub mod work;
