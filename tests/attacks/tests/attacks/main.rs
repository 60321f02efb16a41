//! Attacks on the extension by roles of every kind, each with the look whether anybody got in.

mod archive;
mod calls;
mod changes;
mod duplicates;
mod malformed;
mod names;
mod neighbours;
mod planted;
mod privacy;
mod rights;
mod scripts;
mod settings;
mod worker;
