//! Schedules: what two to four sessions do, step by step, and in which order. Real sessions run them,
//! and each answer, each wait and each row lock is compared with a model.

pub mod claim;
pub mod execution;
pub mod lock;
pub mod order;
pub mod row;
pub mod schedule;
pub mod search;
pub mod stage;
pub mod subject;
pub mod transaction;
pub mod work;

pub use execution::{Run, execute};
pub use order::Order;
pub use schedule::{Schedule, Step};
pub use search::{Budget, Report, check, replay, search};
pub use stage::Stage;
pub use subject::{Answer, Model, Subject};
pub use transaction::{Level, Transaction};
