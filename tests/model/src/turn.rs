//! Row turns: transactions find or create one row, add to it, and commit, without a unique index.

use stateright::{Model, Property};

pub const TRANSACTIONS: usize = 3;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Design {
    /// The turn is held until the transaction has ended, and the look is newer than the turn.
    HoldsUntilCommit,
    /// The turn is given back when the statement is over.
    UnlocksBeforeCommit,
    /// The snapshot is as old as the call, not as the turn.
    LooksBeforeTheTurn,
}

pub struct Turns {
    pub design: Design,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    phases: [Phase; TRANSACTIONS],
    turn: Option<usize>,
    /// The committed rows of the key: what each has counted.
    rows: Vec<usize>,
    additions: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Phase {
    Idle,
    Waiting { seen: Option<Sight> },
    Holding(Sight),
    Ended,
}

/// The row as a look has found it: which one and what it counted, or none.
type Sight = Option<(usize, usize)>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    Ask(usize),
    Take(usize),
    Unlock(usize),
    Commit(usize),
    Abort(usize),
}

impl State {
    /// What the transaction that has the turn was shown: the count of the row, none where it is created.
    pub fn shown(&self, who: usize) -> Option<Option<usize>> {
        match self.phases[who] {
            Phase::Holding(sight) => Some(sight.map(|(_, counted)| counted)),
            _ => None,
        }
    }

    pub fn has_ended(&self, who: usize) -> bool {
        self.phases[who] == Phase::Ended
    }

    fn look(&self) -> Sight {
        self.rows.iter().copied().enumerate().next()
    }
}

impl Model for Turns {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State {
            phases: [Phase::Idle; TRANSACTIONS],
            turn: None,
            rows: vec![],
            additions: 0,
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        for (who, phase) in state.phases.iter().enumerate() {
            match phase {
                Phase::Idle => actions.push(Action::Ask(who)),
                Phase::Waiting { .. } => {
                    if state.turn.is_none() {
                        actions.push(Action::Take(who));
                    }
                    actions.push(Action::Abort(who));
                }
                Phase::Holding(_) => {
                    if self.design == Design::UnlocksBeforeCommit && state.turn == Some(who) {
                        actions.push(Action::Unlock(who));
                    }
                    actions.extend([Action::Commit(who), Action::Abort(who)]);
                }
                Phase::Ended => {}
            }
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        match action {
            Action::Ask(who) => {
                let early = self.design == Design::LooksBeforeTheTurn;
                let seen = early.then(|| state.look());
                state.phases[who] = Phase::Waiting { seen };
            }
            Action::Take(who) => {
                let Phase::Waiting { seen } = state.phases[who] else {
                    return None;
                };
                state.turn = Some(who);
                state.phases[who] = Phase::Holding(seen.unwrap_or_else(|| state.look()));
            }
            Action::Unlock(_) => state.turn = None,
            Action::Commit(who) => {
                let Phase::Holding(sight) = state.phases[who] else {
                    return None;
                };
                match sight {
                    Some((row, counted)) => state.rows[row] = counted + 1,
                    None => state.rows.push(1),
                }
                state.additions += 1;
                state.end(who);
            }
            Action::Abort(who) => state.end(who),
        }
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::<Self>::always("G6 no update is lost", |_, state| {
                state.rows.iter().sum::<usize>() == state.additions
            }),
            Property::<Self>::always("G7 one row", |_, state| state.rows.len() <= 1),
            Property::<Self>::sometimes("all three add", |_, state| {
                state.additions == TRANSACTIONS
            }),
        ]
    }
}

impl State {
    fn end(&mut self, who: usize) {
        self.phases[who] = Phase::Ended;
        if self.turn == Some(who) {
            self.turn = None;
        }
    }
}
