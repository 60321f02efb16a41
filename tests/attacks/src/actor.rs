//! A session of one of a scene's roles; in its statements @tenant, @eve and the like are these roles.

use pg_once_sessions::{Failure, Rows, Session};
use std::ops::{Deref, DerefMut};

pub struct Actor {
    session: Session,
    pub(crate) tag: String,
}

const ROLES: &[&str] = &["tenant", "landlord", "eve", "shop", "member", "team"];

/// The roles of a scene in the place of their words.
pub(crate) fn named(sql: &str, tag: &str) -> String {
    ROLES.iter().fold(sql.to_owned(), |sql, role| {
        sql.replace(&format!("@{role}"), &format!("{role}_{tag}"))
    })
}

impl Actor {
    pub(crate) fn new(session: Session, tag: &str) -> Actor {
        Actor {
            session,
            tag: tag.to_owned(),
        }
    }

    /// The landlord of a scene, in another database.
    pub fn of_database(scene: &crate::Scene, database: &str) -> Actor {
        let landlord = scene.named("@landlord");
        Actor::new(
            scene.database.cluster.connect_as(&landlord, database),
            &scene.tag,
        )
    }

    pub fn send(&mut self, sql: &str) {
        self.session.send(&named(sql, &self.tag));
    }

    pub fn try_run(&mut self, sql: &str) -> Result<Rows, Failure> {
        self.session.try_run(&named(sql, &self.tag))
    }

    pub fn run(&mut self, sql: &str) {
        self.session.run(&named(sql, &self.tag));
    }

    pub fn rows(&mut self, sql: &str) -> Rows {
        self.session.rows(&named(sql, &self.tag))
    }

    pub fn value(&mut self, sql: &str) -> String {
        self.session.value(&named(sql, &self.tag))
    }

    pub fn is_true(&mut self, sql: &str) -> bool {
        self.session.is_true(&named(sql, &self.tag))
    }

    pub fn number(&mut self, sql: &str) -> i64 {
        self.session.number(&named(sql, &self.tag))
    }

    /// The SQLSTATE of a statement, 00000 where it succeeds.
    pub fn told(&mut self, sql: &str) -> String {
        match self.try_run(sql) {
            Ok(_) => "00000".to_owned(),
            Err(failure) => failure.sqlstate().to_owned(),
        }
    }
}

impl Deref for Actor {
    type Target = Session;

    fn deref(&self) -> &Session {
        &self.session
    }
}

impl DerefMut for Actor {
    fn deref_mut(&mut self) -> &mut Session {
        &mut self.session
    }
}
