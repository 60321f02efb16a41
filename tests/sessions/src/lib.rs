//! Multi-session tests.
