//! `pg_once_declarations PG_CONFIG [FILE]` compares what src declares, or this file instead of src/pg/raw.rs, with a
//! server.

use pg_once_declarations::{Server, compare, constants, functions, root, source, sources};
use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    match run() {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<usize, String> {
    let mut arguments = std::env::args().skip(1);
    let pg_config = arguments
        .next()
        .ok_or("usage: pg_once_declarations PG_CONFIG [FILE]")?;
    let server = Server::of(&pg_config)?;
    let mut sources = sources()?;
    let constants = constants(&sources, server.major)?;
    if let Some(file) = arguments.next() {
        let raw = sources
            .iter_mut()
            .find(|source| source.name == "src/pg/raw.rs");
        raw.ok_or("there is no src/pg/raw.rs")?.code = source(Path::new(&file))?.code;
    }
    let functions = functions(&sources, server.major)?;
    let scratch = root().join("target/tests");
    std::fs::create_dir_all(&scratch).map_err(|error| format!("{}: {error}", scratch.display()))?;
    let findings = compare(&server, &functions, &constants, &scratch)?;
    for finding in &findings {
        println!("{finding}");
    }
    println!(
        "{}: {} functions and {} constants compared, {} differ",
        server.version,
        functions.functions.len(),
        constants.len(),
        findings.len()
    );
    Ok(findings.len())
}
