//! What the extension declares by hand of PostgreSQL's C interface, compared with the headers and the program of one
//! server: the functions of its `extern` blocks with their arguments and results, the constants that it repeats, and
//! the layouts that it reads without a declaration of pgrx's.
//!
//! Each declaration is translated to C and given to the C compiler behind the server's own headers, which compares
//! them by the rules of C. So nothing here depends on what pgrx or bindgen make of the headers.

mod cfg;
mod constant;
mod function;
mod header;
mod server;

pub use constant::{Constant, Repeated, constants};
pub use function::{Function, Functions, Type, functions};
pub use header::{Finding, compare};
pub use server::Server;

use std::fs;
use std::path::{Path, PathBuf};

/// One file of the extension's.
pub struct Source {
    /// From the root of the repository on.
    pub name: String,
    pub code: syn::File,
}

pub fn root() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    root.canonicalize().expect("the repository")
}

/// All files of `src`.
pub fn sources() -> Result<Vec<Source>, String> {
    let mut sources = Vec::new();
    let mut folders = vec![root().join("src")];
    while let Some(folder) = folders.pop() {
        let entries = fs::read_dir(&folder).map_err(|error| format!("{folder:?}: {error}"))?;
        for entry in entries {
            let path = entry.map_err(|error| error.to_string())?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                sources.push(source(&path)?);
            }
        }
    }
    Ok(sources)
}

pub fn source(path: &Path) -> Result<Source, String> {
    let text = fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let code = syn::parse_file(&text).map_err(|error| format!("{}: {error}", path.display()))?;
    let name = path.strip_prefix(root()).unwrap_or(path);
    Ok(Source {
        name: name.to_string_lossy().into_owned(),
        code,
    })
}
