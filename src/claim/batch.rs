//! Many claims in one call, in the order of their storage keys: transactions that make one such call
//! each never wait for one another in a circle.

use pgrx::datum::AnyElement;

use super::statement::{self, NEGLIGIBLE_WAIT};
use super::{Answer, Claim, Engine, Terms, as_owner, direct, remote, times, times_of};
use crate::error::Error;
use crate::key;
use crate::pg::array::{Place, Texts};
use crate::pg::claims::{self, Claims, Purpose};
use crate::pg::owner::Access;
use crate::pg::spi::{self, Rows, View};
use crate::pg::{Value, memory, session};
use crate::storage_key::{Columns, Namespace, StorageKey, has_storage_key, storage_key_columns};

/// The most keys of one batch.
pub const LIMIT: usize = 10_000_000;

/// How many keys are claimed at once: by one statement, and with one time.
const CHUNK: usize = 1000;

/// How many keys in a row must be new until the next one is taken for new too.
const NEW_ENOUGH: usize = 64;

/// The distinct keys of an array that are to be claimed; afterwards those that were won.
pub struct Batch<'a> {
    ns: &'a [u8],
    keys: Texts<'a>,
    entries: Vec<Entry>,
}

/// One key: its storage key, and where it is in the array first. This is all the
/// memory that a key takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    storage_key: StorageKey,
    place: Place,
}

impl<'a> Batch<'a> {
    /// The batch of these keys, every one of which is checked before any is claimed.
    pub fn new(ns: &'a [u8], keys: Texts<'a>) -> Result<Self, Error> {
        let checked = key::of_array(keys, LIMIT, |keys| Error::TooManyKeys { keys })?;
        let mut entries = Vec::new();
        if entries.try_reserve_exact(keys.len()).is_err() {
            return Err(Error::OutOfMemory);
        }
        let mut namespace = Namespace::new(ns);
        for key in checked {
            let (place, key) = key?;
            entries.push(Entry {
                storage_key: namespace.storage_key(key),
                place,
            });
        }
        sort(&mut entries, keys)?;
        Ok(Self { ns, keys, entries })
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Claims every key, in the order of the storage keys.
    pub fn claim(&mut self, terms: &Terms) -> Result<(), Error> {
        times(terms.period)?;
        claims::open(Purpose::ClaimMany(self.len()), |opened| {
            match Engine::of(opened)? {
                Engine::Direct(table) => self.claim_directly(table, terms),
                Engine::Statement => as_owner(Access::Write, || self.claim_by_statements(terms)),
                Engine::Remote => as_owner(Access::Write, || self.claim_remotely(terms)),
            }
        })
    }

    /// The keys in the order of the array.
    pub fn into_keys(mut self) -> Result<impl Iterator<Item = AnyElement> + use<'a>, Error> {
        sort_by(&mut self.entries, |entry| entry.place)?;
        let keys = self.keys;
        Ok(self
            .entries
            .into_iter()
            .filter_map(move |entry| keys.any(entry.place)))
    }

    /// Where nearly all of the last keys were new, the next one is inserted without a look before.
    /// Where that meets a claim a dead row stays behind, so it is not done again in this call.
    fn claim_directly(&mut self, table: &mut Claims, terms: &Terms) -> Result<(), Error> {
        let (ns, keys) = (self.ns, self.keys);
        // Under SERIALIZABLE each look counts as a read.
        let looks_at_all = session::isolation() == session::Isolation::Serializable;
        let mut new_ones = (!looks_at_all).then_some(0);
        self.claim_in_chunks(|entries| {
            let mut data = terms.entry(entries.len())?;
            entries
                .iter()
                .map(|entry| {
                    let claim = Claim {
                        storage_key: entry.storage_key,
                        ns,
                        key: keys.at(entry.place),
                    };
                    if new_ones.is_some_and(|count| count >= NEW_ENOUGH) {
                        if table.insert(&claim, &data)? {
                            return Ok(Answer::Won);
                        }
                        new_ones = None;
                    }
                    let answer = match direct::make_at_once(table, &claim, terms, &data)? {
                        Some(answer) => answer,
                        None => {
                            let answer = direct::make(table, &claim, terms)?;
                            data = terms.entry(1)?;
                            answer
                        }
                    };
                    new_ones = new_ones.map(|count| match answer {
                        Answer::Won => count + 1,
                        Answer::Duplicate => 0,
                    });
                    Ok(answer)
                })
                .collect()
        })
    }

    fn claim_by_statements(&mut self, terms: &Terms) -> Result<(), Error> {
        let (ns, keys) = (self.ns, self.keys);
        self.claim_in_chunks(|entries| Chunk::of(ns, keys)?.claim(entries, terms))
    }

    /// One by one: of many rows Citus returns those of each shard together, and inserts them at the same
    /// time on several nodes, where batches could deadlock.
    fn claim_remotely(&mut self, terms: &Terms) -> Result<(), Error> {
        let (ns, keys) = (self.ns, self.keys);
        remote::with_callers_timeout(|| {
            self.claim_in_chunks(|entries| {
                let claim = |entry: &Entry| Claim {
                    storage_key: entry.storage_key,
                    ns,
                    key: keys.at(entry.place),
                };
                let claims = entries.iter().map(claim);
                claims
                    .map(|claim| remote::make_waiting(&claim, terms))
                    .collect()
            })
        })
    }

    fn claim_in_chunks(
        &mut self,
        mut claim: impl FnMut(&[Entry]) -> Result<Vec<Answer>, Error>,
    ) -> Result<(), Error> {
        let mut won = 0;
        for start in (0..self.entries.len()).step_by(CHUNK) {
            session::check_for_interrupts()?;
            let end = self.entries.len().min(start + CHUNK);
            let answers = memory::apart(|| claim(&self.entries[start..end]))?;
            for (number, answer) in (start..end).zip(answers) {
                if answer == Answer::Won {
                    self.entries[won] = self.entries[number];
                    won += 1;
                }
            }
        }
        self.entries.truncate(won);
        Ok(())
    }
}

/// How many entries are sorted before a cancel is looked for.
const SORTED_AT_ONCE: usize = 1 << 16;

/// Sorts many entries so that a cancel is looked for meanwhile: a lower half and an upper half, each of
/// which is sorted then.
fn sort_by<K: Ord>(entries: &mut [Entry], order: impl Fn(&Entry) -> K + Copy) -> Result<(), Error> {
    session::check_for_interrupts()?;
    if entries.len() <= SORTED_AT_ONCE {
        entries.sort_unstable_by_key(order);
        return Ok(());
    }
    let (lower, _, upper) = entries.select_nth_unstable_by_key(entries.len() / 2, order);
    sort_by(lower, order)?;
    sort_by(upper, order)
}

/// Sorts by storage key and keeps the first of equal keys.
fn sort(entries: &mut Vec<Entry>, keys: Texts) -> Result<(), Error> {
    sort_by(entries, |entry| *entry)?;
    let mut collision = Ok(());
    entries.dedup_by(|next, first| {
        let is_again = next.storage_key == first.storage_key;
        if is_again && collision.is_ok() {
            collision = are_equal(keys, next.place, first.place);
        }
        is_again
    });
    collision
}

fn are_equal(keys: Texts, one: Place, other: Place) -> Result<(), Error> {
    match keys.at(one) == keys.at(other) {
        true => Ok(()),
        false => Err(Error::StorageKeyCollision),
    }
}

/// The statement engine for some of the keys.
///
/// What has expired is looked up first, so that such a claim is taken over in its turn, between
/// those before and those behind it. A claim that expires while the statements run counts as
/// standing: taking it over late would break the order.
struct Chunk<'a> {
    name: &'a [u8],
    ns: Value<'static>,
    keys: Texts<'a>,
}

impl<'a> Chunk<'a> {
    fn of(ns: &'a [u8], keys: Texts<'a>) -> Result<Self, Error> {
        Ok(Self {
            name: ns,
            ns: Value::text(ns)?,
            keys,
        })
    }

    fn claim(&self, entries: &[Entry], terms: &Terms) -> Result<Vec<Answer>, Error> {
        if session::isolation() == session::Isolation::Serializable {
            return self.claim_singly(entries, terms);
        }
        let expired = self.expired(entries)?;
        let mut answers = Vec::with_capacity(entries.len());
        let mut rest = entries;
        while !rest.is_empty() {
            let run = rest
                .iter()
                .position(|entry| expired.binary_search(&entry.storage_key).is_ok())
                .unwrap_or(rest.len());
            self.insert(&rest[..run], terms, &mut answers)?;
            rest = &rest[run..];
            if let Some((entry, behind)) = rest.split_first() {
                answers.push(statement::make(&self.single(entry), terms)?);
                rest = behind;
            }
        }
        Ok(answers)
    }

    /// What each answer has read counts, so that each is given by itself.
    fn claim_singly(&self, entries: &[Entry], terms: &Terms) -> Result<Vec<Answer>, Error> {
        entries
            .iter()
            .map(|entry| statement::make(&self.single(entry), terms))
            .collect()
    }

    fn single(&self, entry: &Entry) -> Claim<'_> {
        Claim {
            storage_key: entry.storage_key,
            ns: self.name,
            key: self.keys.at(entry.place),
        }
    }

    /// The storage keys of the claims that have expired, in order.
    fn expired(&self, entries: &[Entry]) -> Result<Vec<StorageKey>, Error> {
        const EXPIRED: &str = concat!(
            "SELECT ",
            storage_key_columns!("claim"),
            " FROM ",
            batch!(),
            " JOIN once.claim ON ",
            has_storage_key!("claim" = "batch"),
            " WHERE claim.expires_at OPERATOR(pg_catalog.<=) $5"
        );
        let mut arguments = keys_of(entries)?;
        arguments.push(Value::timestamp(Some(session::now())));
        let mut expired = spi::run(EXPIRED, &arguments, View::Newest, read_storage_keys)?;
        expired.sort_unstable();
        Ok(expired)
    }

    /// Inserts what is not there, in order.
    fn insert(
        &self,
        entries: &[Entry],
        terms: &Terms,
        answers: &mut Vec<Answer>,
    ) -> Result<(), Error> {
        const INSERT: &str = concat!(
            "INSERT INTO once.claim (",
            storage_key_columns!(),
            ", claimed_at, expires_at, ns, key) SELECT ",
            storage_key_columns!("batch"),
            ", $6, $7, $8, batch.key FROM ",
            batch!("key", "$5"),
            " ON CONFLICT DO NOTHING RETURNING ",
            storage_key_columns!()
        );
        const RENEW: &str = concat!(
            "UPDATE once.claim SET claimed_at = $5, expires_at = $6 FROM ",
            batch!(),
            " WHERE ",
            has_storage_key!("claim" = "batch")
        );
        if entries.is_empty() {
            return Ok(());
        }
        let (now, expiry) = times_of(entries.len(), terms.period)?;
        let mut arguments = keys_of(entries)?;
        arguments.extend([
            self.texts(entries)?,
            Value::timestamp(Some(now)),
            Value::timestamp(expiry),
            self.ns.clone(),
        ]);
        let inserted = spi::run(INSERT, &arguments, View::Isolated, read_storage_keys)?;
        if terms.period.is_some() && session::now() - now > NEGLIGIBLE_WAIT {
            let (now, expiry) = times(terms.period)?;
            let mut arguments = Value::storage_keys(inserted.iter().copied())?.to_vec();
            arguments.extend([Value::timestamp(Some(now)), Value::timestamp(expiry)]);
            spi::run(RENEW, &arguments, View::Isolated, |_| Ok::<_, Error>(()))?;
        }
        let mut inserted = inserted.into_iter().peekable();
        let mut lost = Vec::new();
        for entry in entries {
            answers.push(match inserted.next_if_eq(&entry.storage_key) {
                Some(_) => Answer::Won,
                None => {
                    lost.push(*entry);
                    Answer::Duplicate
                }
            });
        }
        self.stand(&lost)
    }

    /// Reads the claims that were there already: they must be those of the same names.
    fn stand(&self, entries: &[Entry]) -> Result<(), Error> {
        const OTHERS: &str = concat!(
            "SELECT FROM ",
            batch!("key", "$5"),
            " JOIN once.claim ON ",
            has_storage_key!("claim" = "batch"),
            " WHERE claim.ns OPERATOR(pg_catalog.<>) $6 \
                OR claim.key OPERATOR(pg_catalog.<>) batch.key"
        );
        if entries.is_empty() {
            return Ok(());
        }
        let mut arguments = keys_of(entries)?;
        arguments.extend([self.texts(entries)?, self.ns.clone()]);
        let others = |rows: &Rows| Ok::<_, Error>(rows.count());
        match spi::run(OTHERS, &arguments, View::Isolated, others)? {
            0 => Ok(()),
            _ => Err(Error::StorageKeyCollision),
        }
    }

    fn texts(&self, entries: &[Entry]) -> Result<Value<'static>, Error> {
        let texts: Vec<&[u8]> = entries
            .iter()
            .map(|entry| self.keys.at(entry.place))
            .collect();
        Ok(Value::texts(&texts)?)
    }
}

/// The rows of a batch: the storage keys of the parameters $1 to $4, and a column of another one.
macro_rules! batch {
    ($($name:literal, $parameter:literal)?) => {
        concat!(
            "ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2), pg_catalog.unnest($3), \
                 pg_catalog.unnest($4)",
            $(", pg_catalog.unnest(", $parameter, ")",)?
            ") AS batch (",
            storage_key_columns!(),
            $(", ", $name,)?
            ")"
        )
    };
}
use batch;

fn keys_of(entries: &[Entry]) -> Result<Vec<Value<'static>>, Error> {
    let keys = entries.iter().map(|entry| entry.storage_key);
    Ok(Value::storage_keys(keys)?.to_vec())
}

fn read_storage_keys(rows: &Rows) -> Result<Vec<StorageKey>, Error> {
    let read = |row| {
        let columns = (
            rows.int2(row, 0)?,
            rows.int2(row, 1)?,
            rows.int4(row, 2)?,
            rows.integer(row, 3)?,
        );
        let (Some(place_high), Some(place_low), Some(hash_high), Some(hash_low)) = columns else {
            return Ok(None);
        };
        Ok(Some(StorageKey::from(Columns {
            place_high,
            place_low,
            hash_high,
            hash_low,
        })))
    };
    (0..rows.count())
        .filter_map(|row| read(row).transpose())
        .collect()
}
