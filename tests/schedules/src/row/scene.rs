//! Which table it is, which keys have a row, and what the sessions have seen of the table before.

use super::table::{self, Table};
use crate::stage::Stage;
use fastrand::Rng;
use std::fmt::{self, Display};
use std::str::FromStr;

#[derive(Clone)]
pub struct Scene {
    pub table: &'static Table,
    /// Whether keys 1 and 2 have a row.
    pub there: [bool; 2],
    /// Whether the last row that each session took was a new one: the extension then looks for none first.
    pub expects_new: bool,
    pub keys: u8,
}

impl Scene {
    /// The row of this number, which no one takes, has key 98.
    const OTHER: i64 = 5;

    pub fn random(rng: &mut Rng) -> Scene {
        let table = rng.choice(table::ALL).expect("there are tables");
        Scene {
            table,
            there: [rng.u8(0..3) > 0, rng.bool()],
            expects_new: rng.bool(),
            keys: if rng.u8(0..3) == 0 { 2 } else { 1 },
        }
    }

    /// The row that key 1 or 2 has at the beginning.
    pub fn row(key: u8) -> i64 {
        i64::from(key)
    }

    /// A row outside the keys that a session takes into one.
    pub fn spare(session: usize) -> i64 {
        11 + session as i64
    }

    pub fn set(&self, stage: &mut Stage, sessions: usize) {
        let table = self.table;
        let mut sql = match table.detaches {
            true => table.create(),
            false => format!("DELETE FROM {}", table.name),
        };
        let mut insert = |row: String| {
            sql += "; ";
            sql += &row;
        };
        for key in (1..=2).filter(|key| self.there[usize::from(*key) - 1]) {
            insert(table.insert(Scene::row(key), key.into(), true));
        }
        insert(table.insert(Scene::OTHER, 98, true));
        for session in 0..sessions {
            let spare = Scene::spare(session);
            insert(table.insert(spare, 900 + spare, false));
        }
        stage.prepare(&sql);
        let key = if self.expects_new { 99 } else { 98 };
        // One after the other: what is planted in the function's place may deadlock.
        for session in &mut stage.sessions[..sessions] {
            session.run(&format!(
                "BEGIN; SELECT FROM with_row_lock(NULL::{}, '{}'); ROLLBACK",
                table.name,
                table.key(key)
            ));
        }
    }
}

impl Display for Scene {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let flag = u8::from;
        write!(
            f,
            "{} rows={}{} new={} keys={}",
            self.table.name,
            flag(self.there[0]),
            flag(self.there[1]),
            flag(self.expects_new),
            self.keys
        )
    }
}

impl FromStr for Scene {
    type Err = String;

    fn from_str(text: &str) -> Result<Scene, String> {
        let mut words = text.split_whitespace();
        let table = Table::named(words.next().unwrap_or_default())?;
        let mut scene = Scene {
            table,
            there: [false; 2],
            expects_new: false,
            keys: 1,
        };
        for word in words {
            match word.split_once('=') {
                Some(("rows", flags)) => {
                    scene.there = [flags.starts_with('1'), flags.ends_with('1')]
                }
                Some(("new", flag)) => scene.expects_new = flag == "1",
                Some(("keys", number)) => scene.keys = number.parse().map_err(|_| "keys")?,
                _ => return Err(format!("not of a scene: {word}")),
            }
        }
        Ok(scene)
    }
}
