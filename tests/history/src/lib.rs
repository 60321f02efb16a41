//! Recorded histories: many real connections ask at once while something happens to the server;
//! everything that they were told is written down, and must be what one server that keeps the
//! guarantees could have said.
//!
//! `PG_ONCE_SEED` replays what the clients ask and when what happens, though not how they meet.

pub mod checker;
pub mod claim;
mod client;
pub mod counter;
pub mod defect;
pub mod door;
pub mod json;
pub mod load;
pub mod lock;
pub mod order;
pub mod plan;
pub mod record;
pub mod scenario;
pub mod scene;
pub mod server;
pub mod verdict;
mod wire;
pub mod work;
