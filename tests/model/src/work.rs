//! Work: a lease is begun, expires, is taken over; its effect is fenced,
//! and completed once. Workers pause for as long as they like and the server crashes.

use stateright::{Model, Property};

pub const WORKERS: usize = 3;
/// How often work may be begun, so that the model ends.
const BEGINNINGS: usize = 4;
const CRASHES: usize = 1;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Design {
    /// The token is one more than the record's, under its lock; the fence holds until the effect
    /// has committed, and the record's highest token outlives the record.
    Fenced,
    /// The token is drawn before the record is locked, from a counter that a crash sets back.
    TokenFromSequence,
    /// The fence looks at the token and holds nothing.
    FenceLetsGo,
    /// The effect is written without a fence.
    NoFence,
    /// A forgotten record takes its tokens with it.
    ForgetsTheToken,
}

pub struct Work {
    pub design: Design,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    workers: [Worker; WORKERS],
    record: Record,
    /// The highest token that a committed begin was given.
    highest: u8,
    /// The counter, and what of it is safe from a crash.
    sequence: u8,
    sequence_kept: u8,
    begun: usize,
    crashes: usize,
    /// A begin has committed a token that was not higher than every one before it.
    token_went_back: bool,
    /// The token of the newest effect that has committed, and whether an older one came after it.
    newest_effect: u8,
    stale_effect: bool,
    completed: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Worker {
    Idle,
    /// Has drawn a token and has not written it yet.
    Drawn(u8),
    Running(u8),
    /// Its effect's transaction has passed the fence and is open.
    Writing(u8),
    Written(u8),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Record {
    Absent,
    Leased { token: u8, over: bool },
    Done,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    Draw(usize),
    Begin(usize),
    Expire,
    Fence(usize),
    WriteEffect(usize),
    Complete(usize),
    Stop(usize),
    Forget,
    Crash,
}

impl Work {
    fn draws(&self) -> bool {
        self.design == Design::TokenFromSequence
    }

    /// Whether a takeover would have to wait for the fence of another worker.
    fn is_held_off(&self, state: &State) -> bool {
        let holds = |worker: &Worker| match (worker, state.record) {
            (Worker::Writing(fenced), Record::Leased { token, .. }) => *fenced == token,
            _ => false,
        };
        !matches!(self.design, Design::FenceLetsGo | Design::NoFence)
            && state.workers.iter().any(holds)
    }

    fn can_begin(&self, state: &State) -> bool {
        match state.record {
            Record::Absent => true,
            Record::Leased { over, .. } => over && !self.is_held_off(state),
            Record::Done => false,
        }
    }

    fn next_token(&self, state: &State) -> u8 {
        match (self.design, state.record) {
            (Design::ForgetsTheToken, Record::Leased { token, .. }) => token + 1,
            (Design::ForgetsTheToken, _) => 1,
            _ => state.highest + 1,
        }
    }
}

impl Model for Work {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State {
            workers: [Worker::Idle; WORKERS],
            record: Record::Absent,
            highest: 0,
            sequence: 0,
            sequence_kept: 0,
            begun: 0,
            crashes: 0,
            token_went_back: false,
            newest_effect: 0,
            stale_effect: false,
            completed: 0,
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        for (who, worker) in state.workers.iter().enumerate() {
            match worker {
                Worker::Idle if self.draws() && state.begun < BEGINNINGS => {
                    actions.push(Action::Draw(who));
                }
                Worker::Idle | Worker::Drawn(_)
                    if state.begun < BEGINNINGS && self.can_begin(state) =>
                {
                    actions.push(Action::Begin(who));
                }
                Worker::Running(_) => actions.push(Action::Fence(who)),
                Worker::Writing(_) => actions.push(Action::WriteEffect(who)),
                Worker::Written(_) => actions.push(Action::Complete(who)),
                _ => {}
            }
            if *worker != Worker::Idle {
                actions.push(Action::Stop(who));
            }
        }
        match state.record {
            Record::Leased { over: false, .. } => actions.push(Action::Expire),
            Record::Done => actions.push(Action::Forget),
            _ => {}
        }
        if state.crashes < CRASHES {
            actions.push(Action::Crash);
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        match action {
            Action::Draw(who) => {
                state.sequence += 1;
                state.begun += 1;
                state.workers[who] = Worker::Drawn(state.sequence);
            }
            Action::Begin(who) => {
                let token = match state.workers[who] {
                    Worker::Drawn(token) => token,
                    _ => {
                        state.begun += 1;
                        self.next_token(&state)
                    }
                };
                state.token_went_back |= token <= state.highest;
                state.highest = state.highest.max(token);
                state.sequence_kept = state.sequence_kept.max(token);
                state.record = Record::Leased { token, over: false };
                state.workers[who] = Worker::Running(token);
            }
            Action::Expire => {
                let Record::Leased { token, .. } = state.record else {
                    return None;
                };
                state.record = Record::Leased { token, over: true };
            }
            Action::Fence(who) => {
                let Worker::Running(token) = state.workers[who] else {
                    return None;
                };
                let passes = self.design == Design::NoFence || state.is_current(token);
                state.workers[who] = if passes {
                    Worker::Writing(token)
                } else {
                    Worker::Idle
                };
            }
            Action::WriteEffect(who) => {
                let Worker::Writing(token) = state.workers[who] else {
                    return None;
                };
                state.stale_effect |= token < state.newest_effect || token < state.highest;
                state.newest_effect = state.newest_effect.max(token);
                state.workers[who] = Worker::Written(token);
            }
            Action::Complete(who) => {
                let Worker::Written(token) = state.workers[who] else {
                    return None;
                };
                if state.is_current(token) {
                    state.record = Record::Done;
                    state.completed += 1;
                }
                state.workers[who] = Worker::Idle;
            }
            Action::Stop(who) => state.workers[who] = Worker::Idle,
            Action::Forget => {
                state.record = Record::Absent;
                state.completed = 0;
            }
            Action::Crash => {
                state.crashes += 1;
                state.sequence = state.sequence_kept;
                for worker in &mut state.workers {
                    if let Worker::Writing(token) = *worker {
                        *worker = Worker::Running(token);
                    }
                }
            }
        }
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::<Self>::always("G10 tokens increase", |_, state| !state.token_went_back),
            Property::<Self>::always("G10 no effect of a stale token", |_, state| {
                !state.stale_effect
            }),
            Property::<Self>::always("completed once", |_, state| state.completed <= 1),
            Property::<Self>::sometimes("a takeover completes", |_, state| {
                state.completed == 1 && state.highest > 1
            }),
            Property::<Self>::sometimes("a stopped worker's lease is taken over", |_, state| {
                state.highest > 1 && matches!(state.record, Record::Leased { .. })
            }),
        ]
    }
}

impl State {
    fn is_current(&self, asked: u8) -> bool {
        matches!(self.record, Record::Leased { token, .. } if token == asked)
    }
}
