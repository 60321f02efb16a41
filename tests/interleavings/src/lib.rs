//! Every order in which two or three sessions can go through the injection points of the extension, on
//! a real server, and whether the answers are ones that the model has.
//!
//! The extension must be built with the feature `injection_points`, and the server with
//! `--enable-injection-points`.

pub mod expectation;
pub mod order;
pub mod stage;
pub mod subject;
