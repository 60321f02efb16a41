//! The answers that sessions can get in the models of `tests/model`, whatever the order of events.

use crate::subject::End;
use pg_once_model::{claim, turn};
use stateright::Model;
use std::collections::{BTreeSet, HashSet};
use std::hash::Hash;

/// What each session was told.
pub type Answers = Vec<String>;

/// Of transactions that claim one key and end so.
pub fn of_claims(ends: &[End]) -> BTreeSet<Answers> {
    const KEY: usize = 0;
    let model = claim::Claims {
        design: claim::Design::Waits,
    };
    let may = |state: &claim::State, action: &claim::Action| match *action {
        claim::Action::Claim(who, key) => {
            key == KEY && who < ends.len() && state.told(who, KEY).is_none()
        }
        claim::Action::Insert(..) | claim::Action::Wake(_) => true,
        claim::Action::Commit(who) => {
            ends.get(who) == Some(&End::Commit) && state.told(who, KEY).is_some()
        }
        claim::Action::Abort(who) => {
            ends.get(who) == Some(&End::Rollback) && state.told(who, KEY).is_some()
        }
        claim::Action::Vanish(_) => false,
    };
    let answers = |state: &claim::State, _: Answers| {
        let answer = |who| match state.told(who, KEY) {
            Some(true) => "t",
            Some(false) => "f",
            None => "",
        };
        (0..ends.len()).map(|who| answer(who).to_owned()).collect()
    };
    let is_over = |state: &claim::State| (0..ends.len()).all(|who| state.has_ended(who));
    explore(&model, ends.len(), may, answers, is_over)
}

/// Of transactions that take the turn of one row that is not there, add one, and end so.
pub fn of_turns(ends: &[End]) -> BTreeSet<Answers> {
    let model = turn::Turns {
        design: turn::Design::HoldsUntilCommit,
    };
    let may = |state: &turn::State, action: &turn::Action| match *action {
        turn::Action::Ask(who) | turn::Action::Take(who) => who < ends.len(),
        turn::Action::Unlock(_) => false,
        turn::Action::Commit(who) => ends.get(who) == Some(&End::Commit),
        turn::Action::Abort(who) => {
            ends.get(who) == Some(&End::Rollback) && state.shown(who).is_some()
        }
    };
    let answers = |state: &turn::State, mut told: Answers| {
        for (who, answer) in told.iter_mut().enumerate() {
            if let Some(shown) = state.shown(who) {
                *answer = shown.map_or("created".to_owned(), |count| count.to_string());
            }
        }
        told
    };
    let is_over = |state: &turn::State| (0..ends.len()).all(|who| state.has_ended(who));
    explore(&model, ends.len(), may, answers, is_over)
}

/// The answers in all states of the model in which all sessions have ended.
fn explore<M>(
    model: &M,
    sessions: usize,
    may: impl Fn(&M::State, &M::Action) -> bool,
    answers: impl Fn(&M::State, Answers) -> Answers,
    is_over: impl Fn(&M::State) -> bool,
) -> BTreeSet<Answers>
where
    M: Model<State: Clone + Eq + Hash>,
{
    let nothing = vec![String::new(); sessions];
    let states = model.init_states().into_iter();
    let mut next = Vec::from_iter(states.map(|state| (state, nothing.clone())));
    let mut seen = HashSet::new();
    let mut found = BTreeSet::new();
    while let Some((state, told)) = next.pop() {
        if !seen.insert((state.clone(), told.clone())) {
            continue;
        }
        if is_over(&state) {
            found.insert(told.clone());
        }
        let mut actions = Vec::new();
        model.actions(&state, &mut actions);
        for action in actions.into_iter().filter(|action| may(&state, action)) {
            if let Some(after) = model.next_state(&state, action) {
                let told = answers(&after, told.clone());
                next.push((after, told));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answers(all: &[[&str; 2]]) -> BTreeSet<Answers> {
        let answer = |pair: &[&str; 2]| pair.iter().map(|one| (*one).to_owned()).collect();
        all.iter().map(answer).collect()
    }

    #[test]
    fn one_of_two_claims_is_won() {
        let both = of_claims(&[End::Commit, End::Commit]);
        assert_eq!(both, answers(&[["t", "f"], ["f", "t"]]));
        let one = of_claims(&[End::Rollback, End::Commit]);
        assert_eq!(one, answers(&[["t", "t"], ["f", "t"]]));
    }

    #[test]
    fn the_second_turn_is_shown_what_the_first_has_added() {
        let both = of_turns(&[End::Commit, End::Commit]);
        assert_eq!(both, answers(&[["created", "1"], ["1", "created"]]));
        let one = of_turns(&[End::Rollback, End::Commit]);
        assert_eq!(one, answers(&[["created", "created"], ["1", "created"]]));
    }
}
