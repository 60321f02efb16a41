use std::time::Duration;

/// Two runs over the same input, side by side.
pub struct Comparison<T> {
    pub title: String,
    pub naive: T,
    pub pg_once: T,
}

/// What one run left behind, counted in its tables.
pub trait Tally {
    /// Label and value, the same labels in the same order for every run.
    fn rows(&self) -> Vec<(&'static str, String)>;
    /// What must not be, in words; empty if all is well.
    fn faults(&self) -> Vec<String>;
    /// What is well if there are no faults.
    const WELL: &'static str;
}

impl<T: Tally> Comparison<T> {
    pub fn print(&self) {
        println!("\n{}\n", self.title);
        line("", "naive", "pg_once");
        line(&"-".repeat(LABEL), &"-".repeat(VALUE), &"-".repeat(VALUE));
        for ((label, naive), (_, pg_once)) in self.naive.rows().iter().zip(self.pg_once.rows()) {
            line(label, naive, &pg_once);
        }
        println!();
        match self.naive.faults().as_slice() {
            [] => println!("  naive:   lucky, nothing went wrong in this run. Run it again."),
            faults => println!("  naive:   {}.", faults.join(",\n           ")),
        }
        match self.pg_once.faults().as_slice() {
            [] => println!("  pg_once: {}.", T::WELL),
            faults => println!("  pg_once: WRONG: {}.", faults.join(",\n           ")),
        }
    }

    /// Whether pg_once made no mistake.
    pub fn is_right(&self) -> bool {
        self.pg_once.faults().is_empty()
    }
}

pub fn milliseconds(time: Duration) -> String {
    time.as_millis().to_string()
}

const LABEL: usize = 46;
const VALUE: usize = 14;

fn line(label: &str, naive: &str, pg_once: &str) {
    println!("  {label:<LABEL$} {naive:>VALUE$} {pg_once:>VALUE$}");
}
