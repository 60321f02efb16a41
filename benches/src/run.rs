//! One run: how large, since when, and what it says meanwhile.

use std::time::Instant;

/// What is asked.
#[derive(Clone, Copy, PartialEq)]
pub enum Purpose {
    Figures,
    /// Nothing but which gates are met.
    Gates,
    /// The counts that later runs are compared with.
    Baseline,
}

pub struct Run {
    pub major: u32,
    /// 1 is the run that is published; less is shorter and coarser.
    pub scale: f64,
    pub purpose: Purpose,
    started: Instant,
}

impl Run {
    pub fn new(major: u32, scale: f64, purpose: Purpose) -> Run {
        Run {
            major,
            scale,
            purpose,
            started: Instant::now(),
        }
    }

    /// So many at full scale, but never less than this.
    pub fn scaled(&self, full: usize, least: usize) -> usize {
        ((full as f64 * self.scale) as usize).max(least)
    }

    pub fn progress(&self, what: &str) {
        let elapsed = self.started.elapsed().as_secs();
        eprintln!("{:02}:{:02} {what}", elapsed / 60, elapsed % 60);
    }

    pub fn minutes(&self) -> f64 {
        self.started.elapsed().as_secs_f64() / 60.0
    }
}
