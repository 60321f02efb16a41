//! What holds for the extension's own tables where Citus keeps their rows on several nodes.

use crate::error::Error;
use crate::pg::owner::OwnTable;
use crate::pg::session::{self, Isolation};

/// The snapshots of several nodes are not one.
pub fn demand_isolation(table: OwnTable) -> Result<(), Error> {
    match session::isolation() {
        Isolation::Serializable => Err(Error::DistributedSerializable { table }),
        Isolation::ReadCommitted | Isolation::RepeatableRead => Ok(()),
    }
}
