//! One installation of PostgreSQL: its headers and its program.

use object::{Object, ObjectSymbol};
use std::collections::HashSet;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

pub struct Server {
    pub major: u32,
    pub version: String,
    pub headers: PathBuf,
    /// What libraries may use of the program.
    pub symbols: HashSet<String>,
}

impl Server {
    /// The one that this `pg_config` describes.
    pub fn of(pg_config: &str) -> Result<Server, String> {
        let ask = |what: &str| {
            let output = Command::new(pg_config).arg(what).output();
            let output = output.map_err(|error| format!("{pg_config}: {error}"))?;
            match output.status.success() {
                true => Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned()),
                false => Err(format!("{pg_config} {what} failed")),
            }
        };
        let version = ask("--version")?;
        let digits = version.trim_start_matches(|c: char| !c.is_ascii_digit());
        let end = digits
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(digits.len());
        let major = digits[..end]
            .parse()
            .map_err(|_| format!("no version: {version}"))?;
        let program = PathBuf::from(ask("--bindir")?).join("postgres");
        let symbols = symbols(
            &fs::read(&program).map_err(|error| format!("{}: {error}", program.display()))?,
        )?;
        Ok(Server {
            major,
            headers: PathBuf::from(ask("--includedir-server")?),
            symbols,
            version,
        })
    }
}

fn symbols(program: &[u8]) -> Result<HashSet<String>, String> {
    let file = object::File::parse(program).map_err(|error| error.to_string())?;
    let is_macho = file.format() == object::BinaryFormat::MachO;
    let defined = file
        .dynamic_symbols()
        .chain(file.symbols().filter(|_| is_macho));
    let names = defined
        .filter(|symbol| symbol.is_definition() && symbol.is_global())
        .filter_map(|symbol| symbol.name().ok())
        .map(|name| {
            name.strip_prefix('_')
                .filter(|_| is_macho)
                .unwrap_or(name)
                .to_owned()
        });
    Ok(names.collect())
}
