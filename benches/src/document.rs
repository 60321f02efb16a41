//! The page that a whole run writes: docs/benchmarks/README.md, the plots and
//! the figures beside it.

use crate::report::{Report, number};
use crate::run::Run;
use crate::server::{Server, root, said};
use serde_json::{Value, json};
use std::fs;
use std::process::Command;

const BEGIN: &str = "<!-- written by make bench: begin -->";
const END: &str = "<!-- written by make bench: end -->";

/// What the figures depend on.
pub struct Machine {
    postgresql: String,
    processor: String,
    cores: usize,
    megabytes: u64,
    /// How busy it was before the run.
    load: String,
    settings: String,
    commit: String,
    date: String,
}

impl Machine {
    pub fn look(server: &Server, settings: &str) -> Result<Machine, String> {
        let processors = read("/proc/cpuinfo")?;
        let processor = processors
            .lines()
            .find_map(|line| line.strip_prefix("model name")?.split_once(':'));
        let mut commit = Command::new("git");
        commit
            .args(["describe", "--always", "--dirty", "--abbrev=12"])
            .current_dir(root());
        Ok(Machine {
            postgresql: server.connect("postgres")?.value("SHOW server_version")?,
            processor: processor
                .map_or("unknown", |(_, model)| model)
                .trim()
                .to_owned(),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            megabytes: megabytes()?,
            load: read("/proc/loadavg")?
                .split(' ')
                .next()
                .unwrap_or_default()
                .to_owned(),
            settings: settings
                .lines()
                .map(str::trim)
                .filter(|line| !line.is_empty())
                .collect::<Vec<_>>()
                .join(", "),
            commit: said(&mut commit).unwrap_or_else(|_| "unknown".to_owned()),
            date: said(Command::new("date").args(["-u", "+%Y-%m-%d %H:%M UTC"]))?,
        })
    }
}

impl Machine {
    pub fn for_machines(&self, run: &Run) -> Value {
        json!({
            "postgresql": self.postgresql, "processor": self.processor, "cores": self.cores,
            "megabytes": self.megabytes, "load average before": self.load, "settings": self.settings,
            "commit": self.commit, "date": self.date, "scale": run.scale, "minutes": run.minutes(),
        })
    }
}

pub fn megabytes() -> Result<u64, String> {
    let memory = read("/proc/meminfo")?;
    let total = memory
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:")?.strip_suffix("kB"));
    let kilobytes = total.and_then(|total| total.trim().parse::<u64>().ok());
    kilobytes
        .map(|kilobytes| kilobytes / 1024)
        .ok_or_else(|| "no MemTotal in /proc/meminfo".to_owned())
}

pub fn text(run: &Run, machine: &Machine, report: &Report, failed: &[String]) -> String {
    let mut text = format!(
        "PostgreSQL {} on {} cores ({}), {} MB of memory, load average {} before the run. {}, commit `{}`, \
         `SCALE={}`, {:.0} minutes. Not the server's defaults: `{}`.\n\n## Targets\n\n\
         A gate is a count that repeats on any machine; missing one fails the run.\n\n{}\n",
        machine.postgresql,
        machine.cores,
        machine.processor,
        number(machine.megabytes as f64),
        machine.load,
        machine.date,
        machine.commit,
        run.scale,
        run.minutes(),
        machine.settings,
        report.targets_table(),
    );
    for failure in failed {
        text += &format!("**{failure}**\n\n");
    }
    for section in &report.sections {
        text += section;
        text.push('\n');
    }
    text
}

/// Writes the page anew between its marks.
pub fn publish(text: &str, report: &Report) -> Result<(), String> {
    let directory = root().join("docs/benchmarks");
    let page = directory.join("README.md");
    let old = read(&page.to_string_lossy())?;
    let marks = old.find(BEGIN).zip(old.find(END));
    let (begin, end) = marks.ok_or_else(|| format!("{} has no marks", page.display()))?;
    let new = format!(
        "{}{BEGIN}\n\n{}\n\n{}",
        &old[..begin],
        text.trim(),
        &old[end..]
    );
    fs::write(&page, new).map_err(|error| format!("{}: {error}", page.display()))?;
    report.keep(&directory)
}

fn read(file: &str) -> Result<String, String> {
    fs::read_to_string(file).map_err(|error| format!("{file}: {error}"))
}
