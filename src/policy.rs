//! What is configured for a namespace: who may use it, and how long what is made there lasts.
//!
//! Every function that takes a namespace asks here before anything else. What is configured is
//! kept for the session until the table changes, so that a namespace nobody configured costs next
//! to nothing.

pub mod home;

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};

use crate::digest;
use crate::duration;
use crate::error::Error;
use crate::pg::call::Interval;
use crate::pg::deadline::{Attempt, attempt};
use crate::pg::owner::Access;
use crate::pg::role::DATABASE_OWNER;
use crate::pg::spi::{self, View};
use crate::pg::{Role, Value, citus, session, text, watch};
use crate::timeout::Timeout;
use home::{Home, home};

#[derive(Clone, Copy, Debug, Default)]
pub struct Policy {
    /// How long a claim lasts that names no period of its own, and how long work that is over is
    /// remembered. None: for ever.
    pub ttl: Option<Interval>,
}

/// The policy of a namespace that `current_user` may use. Others are refused with 42501.
pub fn admit<N: AsRef<[u8]> + ?Sized>(ns: &N) -> Result<Policy, Error> {
    let ns = ns.as_ref();
    let rule = rule(ns)?;
    if !rule.includes_caller()? {
        return Err(Error::NamespaceClosed {
            ns: text::decode(ns)?,
        });
    }
    if rule.ttl_is_invalid {
        return Err(Error::TtlInvalid {
            ns: text::decode(ns)?,
        });
    }
    Ok(Policy { ttl: rule.ttl })
}

/// The same within the timeout: none when that is over while somebody keeps the table of
/// namespaces locked, which only matters where it has to be read.
pub fn admit_in_time(ns: &[u8], timeout: Timeout) -> Result<Option<Policy>, Error> {
    if timeout == Timeout::None || known(ns)?.1.is_some() {
        return admit(ns).map(Some);
    }
    Ok(match attempt(timeout.deadline(), || admit(ns))? {
        Attempt::Done(policy) => Some(policy),
        Attempt::TimedOut | Attempt::Moved => None,
    })
}

/// Whether `current_user` may use the namespace.
pub fn admits(ns: &[u8]) -> Result<bool, Error> {
    rule(ns)?.includes_caller()
}

/// Whether `current_user` is of the role that the namespace is kept for; none where it is kept
/// for nobody.
pub fn is_kept_for_caller(ns: &[u8]) -> Result<Option<bool>, Error> {
    let rule = rule(ns)?;
    match rule.role {
        None => Ok(None),
        Some(_) => rule.includes_caller().map(Some),
    }
}

/// Whether the caller has the rights of the owner of the extension or of the database.
pub fn is_administrator() -> Result<bool, Error> {
    Ok(DATABASE_OWNER.includes_caller()?
        || match extension_owner()? {
            Some(owner) => owner.includes_caller()?,
            None => false,
        })
}

fn extension_owner() -> Result<Option<Role>, Error> {
    const OWNER: &str = "SELECT extowner::pg_catalog.regrole FROM pg_catalog.pg_extension \
         WHERE extname OPERATOR(pg_catalog.=) 'pg_once'";
    spi::run(OWNER, &[], View::Isolated, |rows| Ok(rows.role(0, 0)?))
}

/// Whether a ttl is positive and at most 10 years.
pub fn is_valid_ttl(ttl: Interval) -> Result<bool, Error> {
    Ok(duration::end(session::now(), ttl)?.is_some())
}

/// The namespaces that are kept for roles which do not include `current_user`.
pub struct Closed(HashSet<[u8; 16]>);

impl Closed {
    pub fn contains(&self, ns: &[u8]) -> bool {
        !self.0.is_empty() && self.0.contains(&digest::namespace(ns))
    }
}

/// What `current_user` may not use, as of now. One reading of the table, so that how much is read
/// does not depend on what the caller asks for.
pub fn closed() -> Result<Closed, Error> {
    watch::version()?;
    let (mut closed, mut roles) = (HashSet::new(), HashMap::new());
    let mut last = None;
    let home = home()?;
    loop {
        let page = home.as_owner(Access::Read, || page(home, last.as_deref()))?;
        last = page.last().map(|(ns, _)| ns.clone());
        if last.is_none() {
            return Ok(Closed(closed));
        }
        for (ns, role) in page {
            let is_open = match roles.get(&role) {
                Some(is_open) => *is_open,
                None => role.includes_caller()?,
            };
            roles.insert(role, is_open);
            if !is_open {
                closed.insert(digest::namespace(&ns));
            }
        }
    }
}

/// The next namespaces that are kept for a role, in the order of their names.
fn page(home: Home, after: Option<&[u8]>) -> Result<Vec<(Vec<u8>, Role)>, Error> {
    macro_rules! page {
        ($table:literal, $condition:literal) => {
            concat!(
                "SELECT ns, allowed_role FROM once.",
                $table,
                " WHERE ",
                $condition,
                "allowed_role IS NOT NULL ORDER BY ns LIMIT 1000"
            )
        };
        ($condition:literal) => {
            home.choose(
                page!("access_policy", $condition),
                page!("access_policy_shared", $condition),
            )
        };
    }
    let (statement, arguments) = match after {
        None => (page!(""), vec![]),
        Some(ns) => (
            page!("ns OPERATOR(pg_catalog.>) $1 AND "),
            vec![Value::text(ns)?],
        ),
    };
    spi::run(statement, &arguments, View::Newest, |rows| {
        let mut page = Vec::with_capacity(rows.count());
        for row in 0..rows.count() {
            if let (Some(ns), Some(role)) = (rows.bytes(row, 0)?, home.role(rows, row, 1)?) {
                page.push((ns, role));
            }
        }
        Ok(page)
    })
}

/// What stands in the table for one namespace. What is not there is none of both.
#[derive(Clone, Copy, Debug, Default)]
struct Rule {
    ttl: Option<Interval>,
    /// It was not written by `once.configure`.
    ttl_is_invalid: bool,
    role: Option<Role>,
}

impl Rule {
    fn includes_caller(self) -> Result<bool, Error> {
        match self.role {
            None => Ok(true),
            Some(role) => Ok(role.includes_caller()?),
        }
    }
}

/// What this session knows, as of one version of the table.
struct Known {
    version: u64,
    /// Whether anything is configured at all; none where that has not been looked up.
    any: Option<bool>,
    rules: HashMap<Box<[u8]>, Rule>,
}

thread_local! {
    static KNOWN: RefCell<Known> = RefCell::new(Known::of(0));
}

/// Namespaces kept at most, before all are looked up again.
const RULES_KEPT: usize = 1_000;

impl Known {
    fn of(version: u64) -> Self {
        Self {
            version,
            any: None,
            rules: HashMap::new(),
        }
    }

    fn rule(&self, ns: &[u8]) -> Option<Rule> {
        match self.any {
            Some(false) => Some(Rule::default()),
            _ => self.rules.get(ns).copied(),
        }
    }
}

fn rule(ns: &[u8]) -> Result<Rule, Error> {
    citus::demand_no_shard_query()?;
    match known(ns)? {
        (_, Some(rule)) => Ok(rule),
        (version, None) => look_up(ns, version),
    }
}

/// The version of the table now, and the rule where the session knows it.
fn known(ns: &[u8]) -> Result<(u64, Option<Rule>), Error> {
    let version = watch::version()?;
    let rule = KNOWN.with_borrow_mut(|known| {
        if known.version != version {
            *known = Known::of(version);
        }
        known.rule(ns)
    });
    Ok((version, rule))
}

/// Reads the table. What changed meanwhile makes `version` an old one, and nothing is kept for it. Nor is
/// what all nodes share: nothing tells this session of its changes.
fn look_up(ns: &[u8], version: u64) -> Result<Rule, Error> {
    let mut any = watch::begin()?;
    if any {
        let home = home()?;
        if home == Home::Shared {
            return home.as_owner(Access::Read, || read(home, ns));
        }
        any = home.as_owner(Access::Read, is_anything_configured)?;
    }
    let rule = match any {
        true => Home::Own.as_owner(Access::Read, || read(Home::Own, ns))?,
        false => Rule::default(),
    };
    KNOWN.with_borrow_mut(|known| {
        if known.version == version {
            known.any = Some(any);
            if known.rules.len() >= RULES_KEPT {
                known.rules.clear();
            }
            known.rules.insert(ns.into(), rule);
        }
    });
    Ok(rule)
}

fn is_anything_configured() -> Result<bool, Error> {
    const ANY: &str = "SELECT FROM once.access_policy LIMIT 1";
    spi::run(ANY, &[], View::Newest, |rows| Ok(rows.count() > 0))
}

fn read(home: Home, ns: &[u8]) -> Result<Rule, Error> {
    const OWN: &str = "SELECT ttl, allowed_role FROM once.access_policy \
         WHERE ns OPERATOR(pg_catalog.=) $1";
    const SHARED: &str = "SELECT ttl, allowed_role FROM once.access_policy_shared \
         WHERE ns OPERATOR(pg_catalog.=) $1";
    spi::run(
        home.choose(OWN, SHARED),
        &[Value::text(ns)?],
        View::Newest,
        |rows| {
            let ttl = rows.interval(0, 0)?;
            Ok(Rule {
                ttl,
                ttl_is_invalid: match ttl {
                    Some(ttl) => !is_valid_ttl(ttl)?,
                    None => false,
                },
                role: home.role(rows, 0, 1)?,
            })
        },
    )
}
