//! The life of one piece of work: what each call makes of its record, and is told.
//!
//! Times are microseconds since 2000-01-01 UTC. Whoever stores what is made here must have locked
//! the record that it was made of.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Begun, and neither completed nor failed. The lease may be over.
    Running,
    /// Failed, to be run again.
    GivenBack,
    Done,
    /// Failed for good.
    Failed,
    /// Removed by its user. What is left keeps the tokens rising.
    Forgotten,
}

/// A digest that stands for a request.
pub type Request = [u8; 16];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    pub state: State,
    pub token: i64,
    pub attempt: i32,
    pub begun_at: i64,
    /// While it runs, the end of its lease; given back, when it may be run again, or none: at once.
    pub lease_until: Option<i64>,
    /// When it was completed, failed for good or forgotten.
    pub finished_at: Option<i64>,
    /// From when on a finished record counts as none.
    pub expires_at: Option<i64>,
    pub request: Option<Request>,
}

/// What a begin brings along.
#[derive(Clone, Copy, Debug)]
pub struct Begin {
    pub now: i64,
    pub lease_until: i64,
    pub request: Option<Request>,
    /// No lower than any token that a removed record may have had, or 0 where that is not known yet.
    pub floor: i64,
    /// It is of the worker that began last.
    pub is_of_same_worker: bool,
}

/// What a begin is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begun {
    /// It was begun with another request.
    Mismatch,
    /// Do the work. The record is to be stored.
    Run(Record),
    Done,
    Failed,
    InProgress,
}

/// The token is not, or no longer, the one that counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseLost;

/// No token is higher. It is far above any clock: a token comes near it only where somebody has
/// written one into the tables.
pub const TOKEN_MAX: i64 = 1 << 62;

/// There is no higher token than the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokensExhausted;

impl Record {
    /// The record of work that nobody has begun.
    pub fn first(begin: Begin) -> Result<Self, TokensExhausted> {
        Ok(Self {
            state: State::Running,
            token: next_token(begin.floor, begin.now)?,
            attempt: 1,
            begun_at: begin.now,
            lease_until: Some(begin.lease_until),
            finished_at: None,
            expires_at: None,
            request: begin.request,
        })
    }

    pub fn begin(self, begin: Begin) -> Result<Begun, TokensExhausted> {
        let begin = Begin {
            floor: begin.floor.max(self.token),
            ..begin
        };
        if self.counts_as_none(begin.now) {
            return Ok(Begun::Run(Self::first(begin)?));
        }
        if let (Some(stored), Some(given)) = (self.request, begin.request)
            && stored != given
        {
            return Ok(Begun::Mismatch);
        }
        Ok(match self.state {
            State::Done => Begun::Done,
            State::Failed => Begun::Failed,
            State::Running if begin.is_of_same_worker => Begun::Run(Self {
                attempt: self.attempt.saturating_add(1),
                begun_at: begin.now,
                lease_until: Some(begin.lease_until),
                request: self.request.or(begin.request),
                ..self
            }),
            _ if self.lease_until.is_some_and(|until| until > begin.now) => Begun::InProgress,
            _ => Begun::Run(Self {
                attempt: self.attempt.saturating_add(1),
                request: self.request.or(begin.request),
                ..Self::first(begin)?
            }),
        })
    }

    pub fn renew(self, token: i64, lease_until: i64) -> Result<Self, LeaseLost> {
        Ok(Self {
            lease_until: Some(lease_until),
            ..self.current(token)?
        })
    }

    pub fn complete(
        self,
        token: i64,
        now: i64,
        expires_at: Option<i64>,
    ) -> Result<Self, LeaseLost> {
        Ok(self.current(token)?.finished(State::Done, now, expires_at))
    }

    pub fn fail(self, token: i64, now: i64, expires_at: Option<i64>) -> Result<Self, LeaseLost> {
        Ok(self
            .current(token)?
            .finished(State::Failed, now, expires_at))
    }

    /// Gives the work back, to be run again from `not_before` on, or at once, also where the clock
    /// steps back.
    pub fn give_back(self, token: i64, not_before: Option<i64>) -> Result<Self, LeaseLost> {
        Ok(Self {
            state: State::GivenBack,
            lease_until: not_before,
            ..self.current(token)?
        })
    }

    /// Whether this token has completed it, and nobody has forgotten that.
    pub fn was_completed_by(self, token: i64, now: i64) -> bool {
        self.state == State::Done && self.token == token && !self.counts_as_none(now)
    }

    /// None where there is nothing finished to forget.
    pub fn forget(self, now: i64) -> Option<Self> {
        let is_over = matches!(self.state, State::Done | State::Failed);
        (is_over && !self.counts_as_none(now)).then(|| Self {
            request: None,
            ..self.finished(State::Forgotten, now, Some(now))
        })
    }

    fn current(self, token: i64) -> Result<Self, LeaseLost> {
        match self.state {
            State::Running if self.token == token => Ok(self),
            _ => Err(LeaseLost),
        }
    }

    fn counts_as_none(self, now: i64) -> bool {
        match self.state {
            State::Running | State::GivenBack => false,
            State::Done | State::Failed => self.expires_at.is_some_and(|expiry| expiry <= now),
            State::Forgotten => true,
        }
    }

    fn finished(self, state: State, now: i64, expires_at: Option<i64>) -> Self {
        Self {
            state,
            lease_until: None,
            finished_at: Some(now),
            expires_at,
            ..self
        }
    }
}

/// Where the token before is ahead of the clock, the clock within this many microseconds is added.
const CLOCK_RANGE: i64 = 1 << 32;

/// The clock. A begin that was rolled back leaves no trace, and the next one must not get its token:
/// so the clock is part of the token also where the token before is ahead of it, because the clock
/// has stepped back or a dump came from a server whose clock is ahead.
fn next_token(before: i64, now: i64) -> Result<i64, TokensExhausted> {
    let next = match now > before {
        true => now,
        false => before
            .saturating_add(1)
            .saturating_add(now.rem_euclid(CLOCK_RANGE)),
    };
    match next {
        next if next > before && next <= TOKEN_MAX => Ok(next),
        _ => Err(TokensExhausted),
    }
}

impl State {
    pub fn letter(self) -> u8 {
        match self {
            Self::Running => b'r',
            Self::GivenBack => b'g',
            Self::Done => b'd',
            Self::Failed => b'f',
            Self::Forgotten => b'x',
        }
    }

    pub fn of_letter(letter: u8) -> Option<Self> {
        [
            Self::Running,
            Self::GivenBack,
            Self::Done,
            Self::Failed,
            Self::Forgotten,
        ]
        .into_iter()
        .find(|state| state.letter() == letter)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A call, made by a worker that knows the tokens it was given, at a clock that may step back.
    #[derive(Clone, Copy, Debug)]
    enum Call {
        Begin {
            lease: i64,
            request: Option<u8>,
            is_of_same_worker: bool,
        },
        Renew {
            lease: i64,
        },
        Complete {
            ttl: Option<i64>,
        },
        Fail {
            ttl: Option<i64>,
        },
        GiveBack {
            after: Option<i64>,
        },
        Forget,
        /// What a sweep does: the record goes, the floor rises.
        Sweep,
    }

    fn call() -> impl Strategy<Value = Call> {
        let ttl = || prop::option::of(1..40_i64);
        prop_oneof![
            4 => (1..30_i64, prop::option::of(0..2_u8), prop::bool::weighted(0.2)).prop_map(
                |(lease, request, is_of_same_worker)| Call::Begin { lease, request, is_of_same_worker }
            ),
            1 => (1..30_i64).prop_map(|lease| Call::Renew { lease }),
            2 => ttl().prop_map(|ttl| Call::Complete { ttl }),
            1 => ttl().prop_map(|ttl| Call::Fail { ttl }),
            1 => prop::option::of(0..30_i64).prop_map(|after| Call::GiveBack { after }),
            1 => Just(Call::Forget),
            1 => Just(Call::Sweep),
        ]
    }

    /// The table for one key, and what its workers were told.
    #[derive(Default)]
    struct World {
        record: Option<Record>,
        floor: i64,
        tokens: Vec<i64>,
    }

    impl World {
        fn begin(&mut self, begin: Begin) -> Begun {
            let begin = Begin {
                floor: self.floor,
                ..begin
            };
            let begun = match self.record {
                Some(record) => record.begin(begin).unwrap(),
                None => Begun::Run(Record::first(begin).unwrap()),
            };
            if let Begun::Run(record) = begun {
                if self.tokens.last() != Some(&record.token) {
                    self.tokens.push(record.token);
                }
                self.record = Some(record);
            }
            begun
        }

        fn sweep(&mut self, now: i64) {
            if let Some(record) = self.record
                && record.counts_as_none(now)
            {
                self.floor = self.floor.max(record.token);
                self.record = None;
            }
        }

        /// Tries the change with every token that was ever given, and one that was not: only the
        /// current one may pass.
        fn change(&mut self, change: impl Fn(Record, i64) -> Result<Record, LeaseLost>) -> bool {
            let Some(record) = self.record else {
                return false;
            };
            let given = self.tokens.iter().copied().chain([-1]);
            let passed: Vec<_> = given
                .filter_map(|token| Some((token, change(record, token).ok()?)))
                .collect();
            let [(token, changed)] = passed[..] else {
                assert!(passed.is_empty(), "two tokens are current");
                assert_ne!(record.state, State::Running, "no token is current");
                return false;
            };
            assert_eq!(Some(&token), self.tokens.last());
            assert_eq!(changed.token, token);
            self.record = Some(changed);
            true
        }
    }

    proptest! {
        #[test]
        fn tokens_rise_and_only_the_last_counts(
            calls in prop::collection::vec((call(), -15..40_i64), 1..120),
        ) {
            let mut world = World::default();
            let mut now = 1_000;
            for (call, step) in calls {
                now += step;
                let before = world.record;
                match call {
                    Call::Begin { lease, request, is_of_same_worker } => {
                        let request = request.map(|byte| [byte; 16]);
                        let told = world.begin(Begin { now, lease_until: now + lease, request, floor: 0, is_of_same_worker });
                        let stands = before.filter(|record| !record.counts_as_none(now));
                        let differs = stands.and_then(|record| record.request)
                            .zip(request)
                            .is_some_and(|(stored, given)| stored != given);
                        prop_assert_eq!(told == Begun::Mismatch, differs);
                        if let Begun::Run(record) = told {
                            let is_new = stands.is_none();
                            let is_free = is_new || stands.unwrap().lease_until.is_none_or(|until| until <= now);
                            let is_held = stands.is_some_and(|record| record.state == State::Running);
                            prop_assert!(is_free || is_held && is_of_same_worker);
                            let keeps_its_token = before.is_some_and(|before| before.token == record.token);
                            prop_assert_eq!(keeps_its_token, is_held && is_of_same_worker);
                            let attempts = stands.map_or(0, |record| record.attempt);
                            prop_assert_eq!(record.attempt, attempts + 1);
                            prop_assert_eq!(record.lease_until, Some(now + lease));
                        } else {
                            prop_assert_eq!(world.record, before);
                        }
                    }
                    Call::Renew { lease } => {
                        world.change(|record, token| record.renew(token, now + lease));
                    }
                    Call::Complete { ttl } => {
                        if world.change(|record, token| record.complete(token, now, ttl.map(|ttl| now + ttl))) {
                            let token = *world.tokens.last().unwrap();
                            prop_assert!(world.record.unwrap().was_completed_by(token, now));
                            prop_assert!(!world.record.unwrap().was_completed_by(token - 1, now));
                        }
                    }
                    Call::Fail { ttl } => {
                        world.change(|record, token| record.fail(token, now, ttl.map(|ttl| now + ttl)));
                    }
                    Call::GiveBack { after } => {
                        let not_before = after.map(|after| now + after);
                        world.change(|record, token| record.give_back(token, not_before));
                    }
                    Call::Forget => {
                        let forgotten = world.record.and_then(|record| record.forget(now));
                        world.record = forgotten.or(world.record);
                        prop_assert_eq!(
                            forgotten.is_some(),
                            before.is_some_and(|record| {
                                matches!(record.state, State::Done | State::Failed)
                                    && !record.counts_as_none(now)
                            })
                        );
                    }
                    Call::Sweep => world.sweep(now),
                }
                prop_assert!(world.tokens.is_sorted_by(|a, b| a < b), "{:?}", world.tokens);
                let was_over = before.filter(|record| {
                    matches!(record.state, State::Done | State::Failed) && !record.counts_as_none(now)
                });
                if let (Some(over), false) = (was_over, matches!(call, Call::Forget)) {
                    prop_assert_eq!(world.record, Some(over), "what is finished stays");
                }
            }
        }

        /// Whatever happened, work is never stuck: once every lease is over it is run, or it was
        /// finished.
        #[test]
        fn nothing_is_stuck(calls in prop::collection::vec((1..30_i64, 0..30_i64), 0..20)) {
            let mut world = World::default();
            let mut now = 1_000;
            for (lease, step) in calls {
                world.begin(Begin { now, lease_until: now + lease, request: None, floor: 0, is_of_same_worker: false });
                now += step;
            }
            now += 30;
            let told = world.begin(Begin { now, lease_until: now + 1, request: None, floor: 0, is_of_same_worker: false });
            prop_assert!(matches!(told, Begun::Run(_)));
        }
    }

    #[test]
    fn a_null_request_is_not_compared_and_the_first_given_one_stays() {
        let begin = |now, request: Option<u8>| Begin {
            now,
            lease_until: now + 10,
            request: request.map(|byte| [byte; 16]),
            floor: 0,
            is_of_same_worker: false,
        };
        let first = Record::first(begin(100, None)).unwrap();
        let Ok(Begun::Run(second)) = first.begin(begin(110, Some(1))) else {
            panic!("the lease is over");
        };
        let Ok(Begun::Run(third)) = second.begin(begin(120, None)) else {
            panic!("the lease is over");
        };
        assert_eq!(third.request, Some([1; 16]));
        assert_eq!(third.begin(begin(130, Some(2))), Ok(Begun::Mismatch));
        assert_eq!(third.begin(begin(121, Some(2))), Ok(Begun::Mismatch));
        assert_eq!(third.begin(begin(121, Some(1))), Ok(Begun::InProgress));
    }

    #[test]
    fn what_was_given_back_is_run_at_once_though_the_clock_steps_back() {
        let begin = |now| Begin {
            now,
            lease_until: now + 10,
            request: None,
            floor: 0,
            is_of_same_worker: false,
        };
        let first = Record::first(begin(100)).unwrap();
        let at_once = first.give_back(first.token, None).unwrap();
        assert!(matches!(at_once.begin(begin(50)), Ok(Begun::Run(_))));
        let later = first.give_back(first.token, Some(120)).unwrap();
        assert_eq!(later.begin(begin(119)), Ok(Begun::InProgress));
        assert!(matches!(later.begin(begin(120)), Ok(Begun::Run(_))));
    }

    /// Whatever somebody has written into the tables, no token is given twice.
    #[test]
    fn no_token_comes_after_the_last_one() {
        let begin = |floor| Begin {
            now: 100,
            lease_until: 110,
            request: None,
            floor,
            is_of_same_worker: false,
        };
        assert_eq!(Record::first(begin(i64::MIN)).unwrap().token, 100);
        let mut record = Record::first(begin(TOKEN_MAX - 101)).unwrap();
        assert_eq!(record.token, TOKEN_MAX);
        for token in [TOKEN_MAX, TOKEN_MAX + 1, i64::MAX] {
            assert_eq!(Record::first(begin(token)), Err(TokensExhausted));
            (record.token, record.lease_until) = (token, None);
            assert_eq!(record.begin(begin(0)), Err(TokensExhausted));
        }
        record.lease_until = Some(200);
        assert_eq!(record.begin(begin(0)), Ok(Begun::InProgress));
    }

    /// Two begins of which the first is rolled back start from the same record and floor.
    #[test]
    fn a_token_that_was_rolled_back_is_not_given_again() {
        let ahead = 4_000_000_000_000_000;
        for floor in [0, 5_000, ahead] {
            let token = |now| {
                let begin = Begin {
                    now,
                    lease_until: now + 10,
                    request: None,
                    floor,
                    is_of_same_worker: false,
                };
                Record::first(begin).unwrap().token
            };
            assert!(token(6_000) > floor && token(6_001) > floor);
            assert_ne!(token(6_000), token(6_001));
        }
    }

    #[test]
    fn letters_stand_for_states() {
        for letter in b'a'..=b'z' {
            let state = State::of_letter(letter);
            assert_eq!(state.is_some(), b"rgdfx".contains(&letter));
            assert!(state.is_none_or(|state| state.letter() == letter));
        }
    }
}
