use crate::clients::CLIENTS;

pub const PAYMENTS: u64 = 200;
const PAGE_LENGTH: u64 = 25;
/// Pages overlap: a payment that was updated while a poller turned the page is
/// on the next one again.
const PAGE_STEP: u64 = 20;
const SEED: u64 = 20_240_229;

/// What all pollers are told at one moment: each poller reads its own kind of
/// event (authorised, captured, refunded, fee ...) of the same payments, and
/// every line of every poller is a change of its own.
pub struct Page {
    lines: Vec<Vec<Line>>,
}

pub struct Line {
    pub service_id: i64,
    pub line_item_id: String,
    /// What to add to the payment's amount.
    pub cents: i64,
}

impl Page {
    pub fn of_poller(&self, poller: usize) -> &[Line] {
        &self.lines[poller]
    }
}

/// The same pages in every run.
pub fn all() -> Vec<Page> {
    let mut chance = Chance(SEED);
    (0..PAYMENTS)
        .step_by(PAGE_STEP as usize)
        .map(|first| {
            let payments = first..(first + PAGE_LENGTH).min(PAYMENTS);
            let lines_of_a_poller = |_| payments.clone().map(|n| line(n, &mut chance)).collect();
            Page {
                lines: (0..CLIENTS).map(lines_of_a_poller).collect(),
            }
        })
        .collect()
}

pub fn lines(pages: &[Page]) -> impl Iterator<Item = &Line> {
    pages.iter().flat_map(|page| page.lines.iter().flatten())
}

fn line(payment: u64, chance: &mut Chance) -> Line {
    Line {
        service_id: (payment % 4 + 1) as i64,
        line_item_id: format!("LI-{payment:05}"),
        cents: (chance.next() % 20_001) as i64 - 5_000,
    }
}

/// SplitMix64: enough chance for amounts, and the same on every machine.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn every_poller_is_told_about_every_payment() {
        let pages = all();
        for poller in 0..CLIENTS {
            let mut told = BTreeMap::new();
            for line in pages.iter().flat_map(|page| page.of_poller(poller)) {
                *told
                    .entry((line.service_id, &line.line_item_id))
                    .or_insert(0) += 1;
            }
            assert_eq!(told.len() as u64, PAYMENTS);
            assert!(told.values().any(|times| *times == 2), "pages overlap");
        }
    }

    #[test]
    fn the_seed_decides_the_amounts() {
        let amounts = || lines(&all()).map(|line| line.cents).collect::<Vec<_>>();
        assert_eq!(amounts(), amounts());
    }
}
