//! The PostgreSQL under test, and others on this machine that have the extension too.

use crate::cluster::text;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The oldest major version that is supported.
const OLDEST: u32 = 15;

pub struct Server {
    pub major: u32,
    pub bin: PathBuf,
}

impl Server {
    /// The server under test.
    pub fn under_test() -> Server {
        Server {
            major: major(&under_test()),
            bin: bin_of_the_environment(),
        }
    }

    /// The library of the extension in the server under test.
    pub fn library() -> PathBuf {
        asked(&under_test(), "--pkglibdir").join("pg_once.so")
    }

    /// A copy of the server under test beside it, into which something may be installed, until the next
    /// copy of this name is made.
    pub fn copied(name: &str) -> Server {
        let (original, major) = (under_test(), Server::under_test().major);
        // One that was provisioned here is copied with the libraries beside it.
        let provisioned = original
            .ancestors()
            .find(|directory| directory.parent().is_some_and(|pg| pg.ends_with("pg")));
        let (home, place) = match provisioned {
            Some(home) => {
                let own_name = home.file_name().unwrap().to_str().unwrap();
                (home, home.with_file_name(format!("{name}-{own_name}")))
            }
            None => (
                original.ancestors().nth(2).unwrap(),
                target().join(format!("pg/{name}-{major}")),
            ),
        };
        let _ = fs::remove_dir_all(&place);
        let copy = |how: &str| Command::new("cp").arg(how).arg(home).arg(&place).output();
        // Files that are only read can be the same ones.
        if !copy("-al").unwrap().status.success() {
            let _ = fs::remove_dir_all(&place);
            let output = copy("-a").unwrap();
            assert!(output.status.success(), "{}", text(&output.stderr));
        }
        let pg_config = place.join(original.strip_prefix(home).unwrap());
        for question in ["--bindir", "--pkglibdir", "--sharedir"] {
            let answer = asked(&pg_config, question);
            let here = answer.starts_with(&place);
            assert!(
                here,
                "the copy of {} still points to {}",
                home.display(),
                answer.display()
            );
        }
        Server {
            major,
            bin: asked(&pg_config, "--bindir"),
        }
    }

    /// What this server's pg_config answers.
    pub fn asked(&self, question: &str) -> PathBuf {
        asked(&self.bin.join("pg_config"), question)
    }

    /// Those that pg_upgrade can lead from to the server under test: the older ones that have this
    /// version of the extension, as `make install` and `make test` leave them, and itself, so that
    /// there is always one. Says which are left out, and why.
    pub fn upgradable() -> (Vec<Server>, Vec<String>) {
        let newest = Server::under_test();
        let (mut found, mut left_out) = (Vec::new(), Vec::new());
        for major in OLDEST..newest.major {
            match provisioned(major)
                .ok_or("is not provisioned".to_owned())
                .and_then(|pg_config| has_extension(&pg_config).map(|()| pg_config))
            {
                Ok(pg_config) => found.push(Server {
                    major,
                    bin: asked(&pg_config, "--bindir"),
                }),
                Err(why) => left_out.push(format!("PostgreSQL {major} {why}")),
            }
        }
        found.push(newest);
        (found, left_out)
    }
}

/// What the environment names, or an earlier run has provisioned. Beside a run that provisions more of them,
/// `PG_ONCE_SERVERS` names those that are complete.
fn provisioned(major: u32) -> Option<PathBuf> {
    let complete = std::env::var("PG_ONCE_SERVERS").ok();
    let is_complete = |all: String| all.split_whitespace().any(|one| one == major.to_string());
    if !complete.is_none_or(is_complete) {
        return None;
    }
    if let Some(named) = std::env::var_os(format!("PG_CONFIG_{major}")) {
        return Some(named.into());
    }
    let answer = fs::read_to_string(target().join(format!("pg/{major}.pg_config"))).ok()?;
    Some(PathBuf::from(answer.trim()))
}

fn target() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    std::env::var_os("CARGO_TARGET_DIR").map_or(root.join("target"), PathBuf::from)
}

fn has_extension(pg_config: &Path) -> Result<(), String> {
    let scripts = asked(pg_config, "--sharedir").join("extension");
    let control = fs::read_to_string(scripts.join("pg_once.control"))
        .map_err(|_| "does not have the extension".to_owned())?;
    let here = asked(&under_test(), "--sharedir").join("extension/pg_once.control");
    if control == fs::read_to_string(here).unwrap() {
        Ok(())
    } else {
        Err("has another version of the extension".to_owned())
    }
}

fn major(pg_config: &Path) -> u32 {
    let version = asked(pg_config, "--version");
    let number: String = version
        .to_str()
        .unwrap()
        .chars()
        .skip_while(|c| !c.is_ascii_digit())
        .take_while(char::is_ascii_digit)
        .collect();
    number.parse().unwrap()
}

fn under_test() -> PathBuf {
    std::env::var_os("PG_CONFIG")
        .expect("PG_CONFIG must be the path of the pg_config of the server to test")
        .into()
}

pub(crate) fn bin_of_the_environment() -> PathBuf {
    asked(&under_test(), "--bindir")
}

fn asked(pg_config: &Path, question: &str) -> PathBuf {
    let output = Command::new(pg_config).arg(question).output();
    let output = output.unwrap_or_else(|error| panic!("{}: {error}", pg_config.display()));
    PathBuf::from(text(&output.stdout).trim())
}
