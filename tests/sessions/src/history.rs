//! What every client of a concurrent run asked and was told, and whether one
//! server that keeps the guarantees could have told them that.

use crate::session::{Failure, Session};
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::time::{Duration, Instant};

/// One answer, with the times of the question and of the answer.
#[derive(Clone, Debug)]
pub struct Event {
    pub asked: Duration,
    pub told: Duration,
    pub said: Said,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Said {
    Begun,
    /// `claim_once` answered.
    Claimed(String, bool),
    /// `unclaim` answered.
    Unclaimed(String, bool),
    /// `is_claimed` answered.
    Looked(String, bool),
    /// `with_row_lock` showed this count, and the client has written the next.
    Turn(String, i64),
    Savepoint,
    /// Rolled back to the savepoint.
    Undone,
    Committed,
    RolledBack,
}

/// A session that writes down what it was told. It has at most one savepoint
/// at a time, and an error ends its whole transaction.
///
/// Under SERIALIZABLE `is_claimed`, and `unclaim` where it gives nothing back,
/// speak of the snapshot. That says nothing of the time of the answer, so it is
/// not written down.
pub struct Client {
    session: Session,
    start: Instant,
    events: Vec<Event>,
    is_serializable: bool,
}

impl Client {
    /// All clients of one run have the same `start`.
    pub fn new(session: Session, start: Instant) -> Client {
        Client {
            session,
            start,
            events: Vec::new(),
            is_serializable: false,
        }
    }

    pub fn into_events(self) -> Vec<Event> {
        self.events
    }

    pub fn begin(&mut self, level: &str) -> Result<(), Failure> {
        self.is_serializable = level == "SERIALIZABLE";
        self.say(&format!("BEGIN ISOLATION LEVEL {level}"), Said::Begun)
    }

    pub fn claim(&mut self, key: &str) -> Result<bool, Failure> {
        self.ask("claim_once", key, Said::Claimed)
    }

    pub fn unclaim(&mut self, key: &str) -> Result<bool, Failure> {
        self.ask("unclaim", key, Said::Unclaimed)
    }

    pub fn look(&mut self, key: &str) -> Result<bool, Failure> {
        self.ask("is_claimed", key, Said::Looked)
    }

    /// Takes the turn of this key's row of `counter` and adds one to the count
    /// it is shown. Without a row the timeout was over: false.
    pub fn increment(&mut self, key: &str, timeout: &str) -> Result<bool, Failure> {
        let (asked, rows) = self.put(&format!(
            "SELECT n FROM with_row_lock(NULL::counter, '{{\"key\": \"{key}\"}}', timeout => {timeout})"
        ))?;
        let told = self.start.elapsed();
        let Some(seen) = rows else { return Ok(false) };
        let seen: i64 = seen.parse().unwrap();
        self.put(&format!(
            "UPDATE counter SET n = {} WHERE key = '{key}'",
            seen + 1
        ))?;
        self.events.push(Event {
            asked,
            told,
            said: Said::Turn(key.to_owned(), seen),
        });
        Ok(true)
    }

    pub fn savepoint(&mut self) -> Result<(), Failure> {
        self.say("SAVEPOINT s", Said::Savepoint)
    }

    pub fn undo(&mut self) -> Result<(), Failure> {
        self.say("ROLLBACK TO s", Said::Undone)
    }

    pub fn commit(&mut self) -> Result<(), Failure> {
        self.say("COMMIT", Said::Committed)?;
        self.is_serializable = false;
        Ok(())
    }

    pub fn rollback(&mut self) -> Result<(), Failure> {
        self.say("ROLLBACK", Said::RolledBack)?;
        self.is_serializable = false;
        Ok(())
    }

    fn ask(
        &mut self,
        function: &str,
        key: &str,
        said: fn(String, bool) -> Said,
    ) -> Result<bool, Failure> {
        let (asked, value) = self.put(&format!("SELECT {function}('history', '{key}')"))?;
        let answer = value.as_deref() == Some("t");
        let told = self.start.elapsed();
        let of_snapshot = function == "is_claimed" || (function == "unclaim" && !answer);
        if !(self.is_serializable && of_snapshot) {
            let said = said(key.to_owned(), answer);
            self.events.push(Event { asked, told, said });
        }
        Ok(answer)
    }

    fn say(&mut self, sql: &str, said: Said) -> Result<(), Failure> {
        let (asked, _) = self.put(sql)?;
        self.events.push(Event {
            asked,
            told: self.start.elapsed(),
            said,
        });
        Ok(())
    }

    /// The time of the question and the first value of the answer. What an
    /// aborted transaction held is free from the failing question on, at the
    /// earliest.
    fn put(&mut self, sql: &str) -> Result<(Duration, Option<String>), Failure> {
        let asked = self.start.elapsed();
        match self.session.try_run(sql) {
            Ok(rows) => Ok((
                asked,
                rows.into_iter().next().and_then(|row| row[0].clone()),
            )),
            Err(failure) => {
                self.session.run("ROLLBACK");
                self.is_serializable = false;
                let told = self.start.elapsed();
                self.events.push(Event {
                    asked,
                    told,
                    said: Said::RolledBack,
                });
                Err(failure)
            }
        }
    }
}

/// Checks the claims of a history, one list of events for each client: there
/// must be an order of all that happened, within the times seen, in which each
/// key was held by one transaction at a time, true was said only of a free
/// key and false only of one that a committed transaction or the same one had
/// claimed.
pub fn check_claims(clients: &[Vec<Event>]) -> Result<(), String> {
    let keys: BTreeSet<&String> = clients
        .iter()
        .flatten()
        .filter_map(|event| match &event.said {
            Said::Claimed(key, _) | Said::Unclaimed(key, _) | Said::Looked(key, _) => Some(key),
            _ => None,
        })
        .collect();
    for key in keys {
        let steps: Vec<Vec<Step>> = clients.iter().map(|events| steps(events, key)).collect();
        find_order(&steps).map_err(|reason| format!("claim {key}: {reason}"))?;
    }
    Ok(())
}

/// Checks the turns of a history: no two transactions have the turn of one key
/// at a time, and the committed ones have counted 0, 1, 2, … up to the count
/// that is left in the table.
pub fn check_turns(clients: &[Vec<Event>], left: &BTreeMap<String, i64>) -> Result<(), String> {
    let mut turns: Vec<Turn> = clients.iter().flat_map(|events| turns(events)).collect();
    turns.sort_by_key(|turn| turn.from);
    let keys: BTreeSet<&String> = turns
        .iter()
        .map(|turn| &turn.key)
        .chain(left.keys())
        .collect();
    for key in keys {
        let of_key: Vec<&Turn> = turns.iter().filter(|turn| turn.key == *key).collect();
        for pair in of_key.windows(2) {
            if pair[1].from < pair[0].until {
                return Err(format!("row {key}: two turns at a time: {pair:#?}"));
            }
        }
        let mut counted: Vec<i64> = of_key
            .iter()
            .filter(|turn| turn.committed)
            .flat_map(|turn| turn.seen.iter().copied())
            .collect();
        counted.sort_unstable();
        let count = left.get(key).copied().unwrap_or(0);
        if counted != (0..count).collect::<Vec<_>>() {
            return Err(format!(
                "row {key}: {count} is left of the increments {counted:?}"
            ));
        }
    }
    Ok(())
}

/// What one client did to one key.
#[derive(Debug)]
struct Step {
    asked: Duration,
    told: Duration,
    act: Act,
}

#[derive(Clone, Copy, Debug)]
enum Act {
    Claim(bool),
    Unclaim(bool),
    Look(bool),
    /// Back to what the transaction had made of the key at its savepoint.
    Undo(Option<bool>),
    Commit,
    Rollback,
}

/// The events of one client that touch this key, with the ends of their
/// transactions.
fn steps(events: &[Event], key: &str) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut open = false;
    let mut made: Option<bool> = None;
    let mut saved: Option<bool> = None;
    let mut touched = false;
    for event in events {
        let act = match &event.said {
            Said::Begun => {
                (open, made, saved, touched) = (true, None, None, false);
                continue;
            }
            Said::Savepoint => {
                saved = made;
                continue;
            }
            Said::Claimed(of, answer) if of == key => {
                made = if *answer { Some(true) } else { made };
                Act::Claim(*answer)
            }
            Said::Unclaimed(of, answer) if of == key => {
                made = if *answer { Some(false) } else { made };
                Act::Unclaim(*answer)
            }
            Said::Looked(of, answer) if of == key => Act::Look(*answer),
            Said::Undone if touched => {
                made = saved;
                Act::Undo(saved)
            }
            Said::Committed if touched => Act::Commit,
            Said::RolledBack if touched => Act::Rollback,
            Said::Committed | Said::RolledBack => {
                open = false;
                continue;
            }
            _ => continue,
        };
        touched = true;
        let (asked, told) = (event.asked, event.told);
        steps.push(Step { asked, told, act });
        if matches!(act, Act::Commit | Act::Rollback) {
            (open, touched) = (false, false);
        } else if !open {
            steps.push(Step {
                asked,
                told,
                act: Act::Commit,
            });
            (made, touched) = (None, false);
        }
    }
    steps
}

/// A key: whether it is claimed by what is committed, and which client's open
/// transaction has made what of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Claim {
    committed: bool,
    held: Option<(usize, bool)>,
}

impl Claim {
    /// The key after this act of this client, if it can have been so.
    fn after(self, client: usize, act: Act) -> Option<Claim> {
        let own = self
            .held
            .filter(|(holder, _)| *holder == client)
            .map(|(_, made)| made);
        let free = self.held.is_none() || own.is_some();
        let seen = own.unwrap_or(self.committed);
        let make = |made| Claim {
            held: Some((client, made)),
            ..self
        };
        let release = |committed| Claim {
            committed,
            held: self.held.filter(|_| own.is_none()),
        };
        match act {
            Act::Claim(true) => (free && !seen).then(|| make(true)),
            Act::Claim(false) => (free && seen).then_some(self),
            Act::Unclaim(true) => (free && seen).then(|| make(false)),
            Act::Unclaim(false) => (!seen).then_some(self),
            Act::Look(answer) => (seen == answer).then_some(self),
            Act::Undo(Some(made)) => Some(make(made)),
            Act::Undo(None) | Act::Rollback => Some(release(self.committed)),
            Act::Commit => Some(release(seen)),
        }
    }
}

/// Searches for an order of all steps in which each can have been said. A step
/// may come before another if it was asked before the other was told.
fn find_order(clients: &[Vec<Step>]) -> Result<(), String> {
    let mut open = vec![(vec![0; clients.len()], Claim::default())];
    let mut met = HashSet::new();
    let mut furthest = (0, String::new());
    while let Some((places, claim)) = open.pop() {
        let next = |client: usize| clients[client].get(places[client]);
        let Some(first_told) = (0..clients.len())
            .filter_map(next)
            .map(|step| step.told)
            .min()
        else {
            return Ok(());
        };
        let mut candidates: Vec<(usize, &Step)> = (0..clients.len())
            .filter_map(|client| next(client).map(|step| (client, step)))
            .filter(|(_, step)| step.asked <= first_told)
            .collect();
        candidates.sort_by_key(|(_, step)| std::cmp::Reverse(step.told));
        let done: usize = places.iter().sum();
        if done >= furthest.0 {
            furthest = (
                done,
                format!("after {done} steps {claim:?}, then {candidates:#?}"),
            );
        }
        for (client, step) in candidates {
            if let Some(after) = claim.after(client, step.act) {
                let mut places = places.clone();
                places[client] += 1;
                if met.insert((places.clone(), after)) {
                    open.push((places, after));
                }
            }
        }
    }
    Err(format!("no order explains the answers: {}", furthest.1))
}

/// The time in which a transaction certainly had the turn of a key, and the
/// counts it was shown.
#[derive(Debug)]
struct Turn {
    key: String,
    seen: Vec<i64>,
    from: Duration,
    until: Duration,
    committed: bool,
}

fn turns(events: &[Event]) -> Vec<Turn> {
    let mut over = Vec::new();
    let mut open: Vec<Turn> = Vec::new();
    let mut saved: Vec<(String, usize)> = Vec::new();
    for event in events {
        match &event.said {
            Said::Turn(key, seen) => match open.iter_mut().find(|turn| turn.key == *key) {
                Some(turn) => turn.seen.push(*seen),
                None => open.push(Turn {
                    key: key.clone(),
                    seen: vec![*seen],
                    from: event.told,
                    until: event.told,
                    committed: false,
                }),
            },
            Said::Savepoint => {
                saved = open
                    .iter()
                    .map(|turn| (turn.key.clone(), turn.seen.len()))
                    .collect();
            }
            Said::Undone => {
                let (kept, undone) = std::mem::take(&mut open)
                    .into_iter()
                    .partition(|turn| saved.iter().any(|(key, _)| *key == turn.key));
                open = kept;
                for (turn, (_, count)) in open.iter_mut().zip(&saved) {
                    turn.seen.truncate(*count);
                }
                over.extend(ended(undone, event.asked, false));
            }
            Said::Committed => over.extend(ended(std::mem::take(&mut open), event.asked, true)),
            Said::RolledBack => over.extend(ended(std::mem::take(&mut open), event.asked, false)),
            _ => {}
        }
        if matches!(event.said, Said::Begun | Said::Committed | Said::RolledBack) {
            saved.clear();
        }
    }
    over
}

fn ended(turns: Vec<Turn>, until: Duration, committed: bool) -> impl Iterator<Item = Turn> {
    turns.into_iter().map(move |turn| Turn {
        until,
        committed,
        ..turn
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(asked: u64, told: u64, said: Said) -> Event {
        Event {
            asked: Duration::from_millis(asked),
            told: Duration::from_millis(told),
            said,
        }
    }

    fn claimed(answer: bool) -> Said {
        Said::Claimed("k".to_owned(), answer)
    }

    fn unclaimed(answer: bool) -> Said {
        Said::Unclaimed("k".to_owned(), answer)
    }

    fn looked(answer: bool) -> Said {
        Said::Looked("k".to_owned(), answer)
    }

    fn turn(seen: i64) -> Said {
        Said::Turn("k".to_owned(), seen)
    }

    /// One transaction of these answers, a millisecond each, from this time on.
    fn transaction(from: u64, answers: Vec<Said>) -> Vec<Event> {
        let all = std::iter::once(Said::Begun).chain(answers);
        all.zip(from..)
            .map(|(said, at)| told(at, at, said))
            .collect()
    }

    fn counts(count: i64) -> BTreeMap<String, i64> {
        BTreeMap::from([("k".to_owned(), count)])
    }

    #[test]
    fn a_duplicate_may_wait_for_the_winner() {
        let winner = transaction(0, vec![claimed(true), Said::Committed]);
        let waiter = vec![told(1, 9, claimed(false)), told(10, 10, claimed(false))];
        assert_eq!(check_claims(&[winner, waiter]), Ok(()));
    }

    #[test]
    fn a_false_before_the_winners_commit_is_found() {
        let winner = transaction(0, vec![claimed(true), Said::Savepoint, Said::Committed]);
        let hasty = vec![told(2, 2, claimed(false))];
        assert!(check_claims(&[winner, hasty]).is_err());
    }

    #[test]
    fn two_winners_are_found() {
        let both = [0, 0].map(|from| transaction(from, vec![claimed(true), Said::Committed]));
        assert!(check_claims(&both).is_err());
    }

    #[test]
    fn a_rolled_back_winner_leaves_the_key_free() {
        let loser = transaction(0, vec![claimed(true), Said::RolledBack]);
        let next = |answer| vec![told(1, 9, claimed(answer))];
        assert_eq!(check_claims(&[loser.clone(), next(true)]), Ok(()));
        assert!(check_claims(&[loser, next(false)]).is_err());
    }

    #[test]
    fn a_savepoint_gives_back_what_was_claimed_after_it() {
        let undoing = |from| {
            transaction(
                from,
                vec![
                    Said::Savepoint,
                    claimed(true),
                    Said::Undone,
                    Said::Committed,
                ],
            )
        };
        let next = vec![told(3, 3, claimed(true))];
        assert_eq!(check_claims(&[undoing(0), next.clone()]), Ok(()));
        assert!(check_claims(&[undoing(2), next]).is_err());
    }

    #[test]
    fn an_unclaim_counts_as_of_its_commit() {
        let claim = vec![told(0, 0, claimed(true))];
        let unclaim = transaction(1, vec![unclaimed(true), looked(false), Said::Committed]);
        let others = |at, look| vec![told(at, at, looked(look))];
        assert_eq!(
            check_claims(&[claim.clone(), unclaim.clone(), others(3, true)]),
            Ok(())
        );
        assert_eq!(
            check_claims(&[claim.clone(), unclaim.clone(), others(5, false)]),
            Ok(())
        );
        assert!(check_claims(&[claim, unclaim, others(5, true)]).is_err());
    }

    #[test]
    fn turns_count_without_a_gap() {
        let one = transaction(0, vec![turn(0), turn(1), Said::Committed]);
        let undone = transaction(5, vec![turn(2), Said::RolledBack]);
        let two = transaction(
            10,
            vec![
                turn(2),
                Said::Savepoint,
                turn(3),
                Said::Undone,
                Said::Committed,
            ],
        );
        let all = [one, undone, two];
        assert_eq!(check_turns(&all, &counts(3)), Ok(()));
        assert!(check_turns(&all, &counts(4)).is_err());
    }

    #[test]
    fn a_lost_update_is_found() {
        let both = [0, 5].map(|from| transaction(from, vec![turn(0), Said::Committed]));
        assert!(check_turns(&both, &counts(1)).is_err());
    }

    #[test]
    fn two_turns_at_a_time_are_found() {
        let first = transaction(0, vec![turn(0), Said::Savepoint, Said::Committed]);
        let second = transaction(1, vec![turn(1), Said::Committed]);
        assert!(check_turns(&[first, second], &counts(2)).is_err());
    }
}
