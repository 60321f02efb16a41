//! Claims: transactions claim keys, wait for one another, commit, abort, or lose their client.

use stateright::{Model, Property};

pub const TRANSACTIONS: usize = 3;
pub const KEYS: usize = 2;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Design {
    /// What meets an open claim waits for its transaction, then looks again.
    Waits,
    /// What meets an open claim is told false at once.
    RepliesBeforeCommit,
    /// What has waited is told false, however the wait ended.
    WaitersAreToldFalse,
    /// Two steps with nothing unique below them: look, then insert.
    LooksThenInserts,
    /// Waits for whomever, also for those who wait for it.
    WaitsInCircles,
}

pub struct Claims {
    pub design: Design,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    transactions: [Transaction; TRANSACTIONS],
    /// false was said while the winner could still roll back.
    premature: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Transaction {
    phase: Phase,
    /// Nobody hears its answers any more.
    vanished: bool,
    /// What it was told about each key.
    told: [Option<bool>; KEYS],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Phase {
    Open,
    Waiting { key: usize, winner: usize },
    HasLooked { key: usize },
    Committed,
    Aborted,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    Claim(usize, usize),
    Insert(usize, usize),
    Wake(usize),
    Commit(usize),
    Abort(usize),
    Vanish(usize),
}

impl Transaction {
    fn is_open(&self) -> bool {
        !matches!(self.phase, Phase::Committed | Phase::Aborted)
    }

    fn has_committed(&self) -> bool {
        self.phase == Phase::Committed
    }
}

impl State {
    /// What the transaction was told about the key.
    pub fn told(&self, who: usize, key: usize) -> Option<bool> {
        self.transactions[who].told[key]
    }

    pub fn has_ended(&self, who: usize) -> bool {
        !self.transactions[who].is_open()
    }

    /// Who has made the claim and has not rolled back.
    fn winner(&self, key: usize) -> Option<usize> {
        self.transactions
            .iter()
            .position(|one| one.told[key] == Some(true) && one.phase != Phase::Aborted)
    }

    fn say_false(&mut self, who: usize, key: usize) {
        let settled = self
            .winner(key)
            .is_some_and(|winner| winner == who || self.transactions[winner].has_committed());
        self.premature |= !settled;
        if self.transactions[who].told[key].is_none() {
            self.transactions[who].told[key] = Some(false);
        }
        self.transactions[who].phase = Phase::Open;
    }

    fn say_true(&mut self, who: usize, key: usize) {
        self.transactions[who].told[key] = Some(true);
        self.transactions[who].phase = Phase::Open;
    }

    /// Whether `who` would wait for itself, through those who wait for one another.
    fn would_deadlock(&self, who: usize, winner: usize) -> bool {
        let mut at = winner;
        for _ in 0..TRANSACTIONS {
            match self.transactions[at].phase {
                _ if at == who => return true,
                Phase::Waiting { winner, .. } => at = winner,
                _ => return false,
            }
        }
        at == who
    }
}

impl Claims {
    /// One look at the unique index, and what follows from it.
    fn look(&self, state: &mut State, who: usize, key: usize) {
        match state.winner(key) {
            None if self.design == Design::LooksThenInserts => {
                state.transactions[who].phase = Phase::HasLooked { key };
            }
            None => state.say_true(who, key),
            Some(winner) if winner == who || state.transactions[winner].has_committed() => {
                state.say_false(who, key);
            }
            Some(_) if self.design == Design::RepliesBeforeCommit => state.say_false(who, key),
            Some(_) if self.design == Design::LooksThenInserts => {
                state.transactions[who].phase = Phase::HasLooked { key };
            }
            Some(winner)
                if self.design != Design::WaitsInCircles && state.would_deadlock(who, winner) =>
            {
                state.transactions[who].phase = Phase::Aborted;
            }
            Some(winner) => state.transactions[who].phase = Phase::Waiting { key, winner },
        }
    }
}

impl Model for Claims {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let transaction = Transaction {
            phase: Phase::Open,
            vanished: false,
            told: [None; KEYS],
        };
        vec![State {
            transactions: [transaction; TRANSACTIONS],
            premature: false,
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        for (who, one) in state.transactions.iter().enumerate() {
            if !one.is_open() {
                continue;
            }
            match one.phase {
                Phase::Open => {
                    if !one.vanished {
                        actions.extend((0..KEYS).map(|key| Action::Claim(who, key)));
                    }
                    actions.push(Action::Commit(who));
                }
                Phase::Waiting { winner, .. } if !state.transactions[winner].is_open() => {
                    actions.push(Action::Wake(who));
                }
                Phase::HasLooked { key } => actions.push(Action::Insert(who, key)),
                _ => {}
            }
            actions.push(Action::Abort(who));
            if !one.vanished {
                actions.push(Action::Vanish(who));
            }
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        match action {
            Action::Claim(who, key) => self.look(&mut state, who, key),
            Action::Insert(who, key) => state.say_true(who, key),
            Action::Wake(who) => match state.transactions[who].phase {
                Phase::Waiting { key, .. } if self.design == Design::WaitersAreToldFalse => {
                    state.say_false(who, key);
                }
                Phase::Waiting { key, .. } => self.look(&mut state, who, key),
                _ => return None,
            },
            Action::Commit(who) => state.transactions[who].phase = Phase::Committed,
            Action::Abort(who) => state.transactions[who].phase = Phase::Aborted,
            Action::Vanish(who) => state.transactions[who].vanished = true,
        }
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::<Self>::always("G1 exactly one", |_, state| {
                (0..KEYS).all(|key| {
                    let told_true = |one: &&Transaction| one.told[key] == Some(true);
                    let committed = state.transactions.iter().filter(|one| one.has_committed());
                    committed.filter(told_true).count() <= 1
                })
            }),
            Property::<Self>::always("G2 no premature false", |_, state| !state.premature),
            Property::<Self>::always("G3 no lost claim", |_, state| {
                (0..KEYS).all(|key| {
                    let told_false = |one: &Transaction| one.told[key] == Some(false);
                    let ended = state.transactions.iter().all(|one| !one.is_open());
                    !ended
                        || state.winner(key).is_some()
                        || !state
                            .transactions
                            .iter()
                            .any(|one| one.has_committed() && told_false(one))
                })
            }),
            Property::<Self>::always("nobody waits in a circle", |_, state| {
                (0..TRANSACTIONS).all(|who| match state.transactions[who].phase {
                    Phase::Waiting { winner, .. } => !state.would_deadlock(who, winner),
                    _ => true,
                })
            }),
            Property::<Self>::sometimes("a waiter wins after a rollback", |_, state| {
                let aborted = |one: &Transaction| one.phase == Phase::Aborted;
                state
                    .transactions
                    .iter()
                    .any(|one| aborted(one) && one.told[0] == Some(true))
                    && state.winner(0).is_some()
            }),
            Property::<Self>::sometimes("a claim stands that nobody heard of", |_, state| {
                state.winner(0).is_some_and(|winner| {
                    let winner = &state.transactions[winner];
                    winner.vanished && winner.has_committed()
                })
            }),
        ]
    }
}
