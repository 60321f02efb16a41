//! Attacks on the extension by roles of every kind, each with the look whether anybody got in.

mod calls;
mod names;
mod rights;
mod scripts;
