//! What a run has found: tables, figures for machines, and the targets.

use crate::statistics::Sample;
use serde_json::{Map, Value, json};
use std::fs;
use std::path::Path;

#[derive(Clone, Copy, PartialEq)]
pub enum Bound {
    AtMost(f64),
    AtLeast(f64),
}

pub struct Target {
    pub name: String,
    pub bound: Bound,
    pub found: f64,
    pub spread: Option<(f64, f64)>,
    /// Missing it fails the run.
    pub gate: bool,
}

impl Target {
    /// A figure that is not a number meets nothing.
    pub fn is_met(&self) -> bool {
        match self.bound {
            Bound::AtMost(limit) => self.found <= limit,
            Bound::AtLeast(limit) => self.found >= limit,
        }
    }
}

#[derive(Default)]
pub struct Report {
    pub sections: Vec<String>,
    pub figures: Map<String, Value>,
    pub targets: Vec<Target>,
    /// File names and what is in them.
    pub plots: Vec<(String, String)>,
}

impl Report {
    pub fn section(&mut self, title: &str, text: &str) {
        self.sections
            .push(format!("## {title}\n\n{}\n", text.trim()));
    }

    pub fn gate(&mut self, name: impl Into<String>, bound: Bound, found: f64) {
        self.add(name.into(), bound, found, None, true);
    }

    /// A target that the noise of a machine touches.
    pub fn target(&mut self, name: impl Into<String>, bound: Bound, ratios: &Sample) {
        let spread = (ratios.0.len() > 1).then(|| (ratios.least(), ratios.most()));
        self.add(name.into(), bound, ratios.median(), spread, false);
    }

    fn add(
        &mut self,
        name: String,
        bound: Bound,
        found: f64,
        spread: Option<(f64, f64)>,
        gate: bool,
    ) {
        self.targets.push(Target {
            name,
            bound,
            found,
            spread,
            gate,
        });
    }

    pub fn missed_gates(&self) -> usize {
        self.targets
            .iter()
            .filter(|target| target.gate && !target.is_met())
            .count()
    }

    pub fn targets_table(&self) -> String {
        let rows = self.targets.iter().map(|target| {
            let bound = match target.bound {
                Bound::AtMost(limit) => format!("≤ {}", number(limit)),
                Bound::AtLeast(limit) => format!("≥ {}", number(limit)),
            };
            let verdict = match (target.is_met(), target.gate) {
                (true, _) => "met",
                (false, true) => "**missed (gate)**",
                (false, false) => "**missed**",
            };
            let spread = target
                .spread
                .map(|(least, most)| format!("{} – {}", number(least), number(most)));
            vec![
                target.name.clone(),
                bound,
                number(target.found),
                spread.unwrap_or_else(|| "–".to_owned()),
                verdict.to_owned(),
            ]
        });
        table(&["target", "bound", "found", "spread", ""], rows)
    }

    /// Leaves the figures and the plots of this run in a directory.
    pub fn keep(&self, directory: &Path) -> Result<(), String> {
        let write = |name: &str, content: &str| {
            let file = directory.join(name);
            fs::write(&file, content).map_err(|error| format!("{}: {error}", file.display()))
        };
        let mut results = self.figures.clone();
        results.insert("targets".to_owned(), self.targets_for_machines());
        let results = serde_json::to_string_pretty(&results).map_err(|error| error.to_string())?;
        write("results.json", &(results + "\n"))?;
        self.plots
            .iter()
            .try_for_each(|(name, plot)| write(name, plot))
    }

    fn targets_for_machines(&self) -> Value {
        let targets = self.targets.iter().map(|target| {
            let (kind, limit) = match target.bound {
                Bound::AtMost(limit) => ("at most", limit),
                Bound::AtLeast(limit) => ("at least", limit),
            };
            json!({
                "name": target.name, "bound": kind, "limit": limit, "found": target.found,
                "spread": target.spread, "gate": target.gate, "met": target.is_met(),
            })
        });
        targets.collect()
    }
}

pub fn table(head: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = format!("| {} |\n|{}\n", head.join(" | "), "---|".repeat(head.len()));
    for row in rows {
        table += &format!("| {} |\n", row.join(" | "));
    }
    table
}

/// Three digits, or whole thousands.
pub fn number(value: f64) -> String {
    match value.abs() {
        size if !size.is_finite() => "–".to_owned(),
        size if size >= 100.0 || value.fract() == 0.0 => grouped(value.round() as i64),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// A median with the least and the most.
pub fn spread(sample: &Sample) -> String {
    format!(
        "{} ({} – {})",
        number(sample.median()),
        number(sample.least()),
        number(sample.most())
    )
}

pub fn figures(sample: &Sample) -> Value {
    json!({
        "median": sample.median(), "least": sample.least(), "most": sample.most(),
        "rounds": sample.0.len(),
    })
}

fn grouped(value: i64) -> String {
    let digits = value.unsigned_abs().to_string();
    let mut grouped = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    if value < 0 {
        format!("-{grouped}")
    } else {
        grouped
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        let short = [0.0, 0.804, 12.34, 999.6, 1234567.0, -1500.0].map(number);
        assert_eq!(short, ["0", "0.80", "12.3", "1,000", "1,234,567", "-1,500"]);
    }

    #[test]
    fn what_was_not_measured_meets_nothing() {
        let mut report = Report::default();
        report.gate("at most", Bound::AtMost(1.0), f64::NAN);
        report.gate("at least", Bound::AtLeast(1.0), f64::NAN);
        assert_eq!(report.missed_gates(), 2);
    }
}
