//! What a transaction has done, from savepoint to savepoint.

/// What was done since one savepoint.
pub trait Level: Clone + Default {
    /// Adds what was done since a later one.
    fn absorb(&mut self, newer: Self);
}

#[derive(Clone, Default)]
pub struct Transaction<L> {
    /// None where no transaction is in progress.
    levels: Vec<L>,
    failed: bool,
}

impl<L: Level> Transaction<L> {
    pub fn is_open(&self) -> bool {
        !self.levels.is_empty()
    }

    pub fn has_failed(&self) -> bool {
        self.failed
    }

    pub fn has_savepoint(&self) -> bool {
        self.levels.len() > 1
    }

    pub fn levels(&self) -> impl DoubleEndedIterator<Item = &L> {
        self.levels.iter()
    }

    /// What was done since the newest savepoint.
    pub fn newest(&mut self) -> &mut L {
        self.levels.last_mut().expect("a transaction is open")
    }

    /// Begins the transaction, or a subtransaction.
    pub fn begin(&mut self) {
        self.levels.push(L::default());
    }

    pub fn roll_back_to_savepoint(&mut self) {
        self.failed = false;
        *self.newest() = L::default();
    }

    pub fn release_savepoint(&mut self) {
        let newer = self.levels.pop().expect("a savepoint");
        self.newest().absorb(newer);
    }

    /// After an error nothing is held that was taken since the newest savepoint.
    pub fn fail(&mut self) {
        if self.is_open() {
            self.failed = true;
            *self.newest() = L::default();
        }
    }

    /// Ends it. All that it has done, where that was not undone.
    pub fn end(&mut self, commits: bool) -> Option<L> {
        let levels = std::mem::take(&mut self.levels);
        let failed = std::mem::take(&mut self.failed);
        levels
            .into_iter()
            .reduce(|mut all, newer| {
                all.absorb(newer);
                all
            })
            .filter(|_| commits && !failed)
    }
}
