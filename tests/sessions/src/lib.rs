//! Real concurrent sessions against a private PostgreSQL cluster.
//!
//! The server is the one whose `pg_config` the environment variable
//! `PG_CONFIG` names; the extension must be installed there.

pub mod barrier;
pub mod clock;
pub mod cluster;
pub mod family;
pub mod history;
pub mod pooler;
pub mod proxy;
pub mod server;
pub mod session;

pub use barrier::Barrier;
pub use clock::Clock;
pub use cluster::{Cluster, Database, database};
pub use pooler::Pooler;
pub use server::Server;
pub use session::{Failure, Rows, Session};
