//! The tables that rows are taken of: what makes a key, what is unique, and where rows move.

/// A kind of table. In its statements @ is the table's name and # the number of a key.
#[derive(Debug)]
pub struct Table {
    pub name: &'static str,
    create: &'static str,
    /// The key as JSON.
    key: &'static str,
    /// Whether a row has the key.
    has_key: &'static str,
    /// Takes a row out of its key.
    pub leave: &'static str,
    /// Takes a row into the key.
    enter: &'static str,
    /// Moves a row to another partition, with the same key.
    pub wander: Option<&'static str>,
    /// Whether the server keeps a second row of one key out.
    pub is_unique: bool,
    /// Whether it does so at the end of a statement only.
    pub is_deferrable: bool,
    /// Whether rows move between partitions.
    pub moves: bool,
    /// Whether the partition of key 1, which is called @_1, can be detached; the table is made anew for
    /// each schedule then.
    pub detaches: bool,
}

const PLAIN: Table = Table {
    name: "plain",
    create: "CREATE TABLE @ (id bigint PRIMARY KEY DEFAULT nextval('@_id'), k int NOT NULL,
                             s text NOT NULL DEFAULT 'open', v int NOT NULL DEFAULT 0)",
    key: r#"{"k": #}"#,
    has_key: "k = #",
    leave: "k = 100000 + id",
    enter: "k = #",
    wander: None,
    is_unique: false,
    is_deferrable: false,
    moves: false,
    detaches: false,
};

pub const ALL: &[Table] = &[
    PLAIN,
    Table {
        name: "status",
        key: r#"{"k": #, "s": "open"}"#,
        has_key: "k = # AND s = 'open'",
        leave: "s = 'paid'",
        enter: "k = #, s = 'open'",
        ..PLAIN
    },
    Table {
        name: "uniquely",
        create: "CREATE TABLE @ (id bigint PRIMARY KEY DEFAULT nextval('@_id'), k int UNIQUE,
                                 s text NOT NULL DEFAULT 'open', v int NOT NULL DEFAULT 0)",
        is_unique: true,
        ..PLAIN
    },
    Table {
        name: "primary_key",
        create: "CREATE TABLE @ (id bigint NOT NULL DEFAULT nextval('@_id'), k int PRIMARY KEY,
                                 s text NOT NULL DEFAULT 'open', v int NOT NULL DEFAULT 0)",
        is_unique: true,
        ..PLAIN
    },
    Table {
        name: "deferrable_key",
        create: "CREATE TABLE @ (id bigint PRIMARY KEY DEFAULT nextval('@_id'), k int UNIQUE DEFERRABLE,
                                 s text NOT NULL DEFAULT 'open', v int NOT NULL DEFAULT 0)",
        is_unique: true,
        is_deferrable: true,
        ..PLAIN
    },
    Table {
        name: "twofold_key",
        create: "CREATE TABLE @ (id bigint PRIMARY KEY DEFAULT nextval('@_id'), k int UNIQUE DEFERRABLE,
                                 s text NOT NULL DEFAULT 'open', v int NOT NULL DEFAULT 0);
                 CREATE UNIQUE INDEX ON @ (k)",
        is_unique: true,
        is_deferrable: true,
        ..PLAIN
    },
    Table {
        name: "triggers",
        create: "CREATE TABLE @ (id bigint PRIMARY KEY DEFAULT nextval('@_id'), k int UNIQUE,
                                 s text NOT NULL DEFAULT 'open', v int NOT NULL DEFAULT 0);
                 CREATE FUNCTION @_nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
                 CREATE TRIGGER before BEFORE INSERT OR UPDATE ON @ FOR EACH ROW EXECUTE FUNCTION @_nothing();
                 CREATE TRIGGER after AFTER INSERT OR UPDATE ON @ FOR EACH ROW EXECUTE FUNCTION @_nothing()",
        is_unique: true,
        ..PLAIN
    },
    Table {
        name: "partial",
        create: "CREATE TABLE @ (id bigint PRIMARY KEY DEFAULT nextval('@_id'), k int NOT NULL,
                                 s text NOT NULL DEFAULT 'open', v int NOT NULL DEFAULT 0);
                 CREATE UNIQUE INDEX ON @ (k) WHERE s = 'open'",
        key: r#"{"k": #, "s": "open"}"#,
        has_key: "k = # AND s = 'open'",
        leave: "s = 'paid'",
        enter: "k = #, s = 'open'",
        is_unique: true,
        ..PLAIN
    },
    Table {
        name: "soft_delete",
        create: "CREATE TABLE @ (id bigint PRIMARY KEY DEFAULT nextval('@_id'), k int NOT NULL,
                                 s text NOT NULL DEFAULT 'open', v int NOT NULL DEFAULT 0,
                                 deleted_at timestamptz);
                 CREATE UNIQUE INDEX ON @ (k) WHERE deleted_at IS NULL",
        key: r#"{"k": #, "deleted_at": null}"#,
        has_key: "k = # AND deleted_at IS NULL",
        leave: "deleted_at = now()",
        enter: "k = #, deleted_at = NULL",
        is_unique: true,
        ..PLAIN
    },
    Table {
        name: "by_key",
        create: "CREATE TABLE @ (id bigint NOT NULL DEFAULT nextval('@_id'), k int NOT NULL,
                                 s text NOT NULL DEFAULT 'open', v int NOT NULL DEFAULT 0)
                 PARTITION BY LIST (k);
                 CREATE TABLE @_1 PARTITION OF @ FOR VALUES IN (1);
                 CREATE TABLE @_2 PARTITION OF @ FOR VALUES IN (2);
                 CREATE TABLE @_rest PARTITION OF @ DEFAULT",
        moves: true,
        ..PLAIN
    },
    Table {
        name: "by_unique_key",
        create: "CREATE TABLE @ (id bigint NOT NULL DEFAULT nextval('@_id'), k int NOT NULL UNIQUE,
                                 s text NOT NULL DEFAULT 'open', v int NOT NULL DEFAULT 0)
                 PARTITION BY LIST (k);
                 CREATE TABLE @_1 PARTITION OF @ FOR VALUES IN (1);
                 CREATE TABLE @_2 PARTITION OF @ FOR VALUES IN (2);
                 CREATE TABLE @_rest PARTITION OF @ DEFAULT",
        is_unique: true,
        moves: true,
        ..PLAIN
    },
    Table {
        name: "by_status",
        create: "CREATE TABLE @ (id bigint NOT NULL DEFAULT nextval('@_id'), k int NOT NULL,
                                 s text NOT NULL DEFAULT 'open', v int NOT NULL DEFAULT 0)
                 PARTITION BY LIST (s);
                 CREATE TABLE @_open PARTITION OF @ FOR VALUES IN ('open');
                 CREATE TABLE @_rest PARTITION OF @ DEFAULT",
        key: r#"{"k": #, "s": "open"}"#,
        has_key: "k = # AND s = 'open'",
        leave: "s = 'paid'",
        enter: "k = #, s = 'open'",
        moves: true,
        ..PLAIN
    },
    Table {
        name: "wanders",
        create: "CREATE TABLE @ (id bigint NOT NULL DEFAULT nextval('@_id'), k int NOT NULL,
                                 s text NOT NULL DEFAULT 'open', v int NOT NULL DEFAULT 0)
                 PARTITION BY LIST (s);
                 CREATE TABLE @_open PARTITION OF @ FOR VALUES IN ('open');
                 CREATE TABLE @_rest PARTITION OF @ DEFAULT",
        wander: Some("s = CASE s WHEN 'open' THEN 'paid' ELSE 'open' END"),
        moves: true,
        ..PLAIN
    },
    Table {
        name: "detached",
        create: "DROP TABLE IF EXISTS @, @_1; DROP SEQUENCE IF EXISTS @_id; CREATE SEQUENCE @_id START 1000;
                 CREATE TABLE @ (id bigint NOT NULL DEFAULT nextval('@_id'), k int NOT NULL,
                                 s text NOT NULL DEFAULT 'open', v int NOT NULL DEFAULT 0)
                 PARTITION BY LIST (k);
                 CREATE TABLE @_1 PARTITION OF @ FOR VALUES IN (1);
                 CREATE TABLE @_rest PARTITION OF @ FOR VALUES IN (2, 90, 98, 99, 911, 912, 913, 914)",
        leave: "k = 90",
        moves: true,
        detaches: true,
        ..PLAIN
    },
];

impl Table {
    pub fn named(name: &str) -> Result<&'static Table, String> {
        let table = ALL.iter().find(|table| table.name == name);
        table.ok_or_else(|| format!("there is no table {name}"))
    }

    fn worded(&self, sql: &str) -> String {
        sql.replace('@', self.name)
    }

    pub fn create(&self) -> String {
        let create = self.worded(self.create);
        match self.detaches {
            true => create,
            false => format!("CREATE SEQUENCE {}_id START 1000; {create}", self.name),
        }
    }

    pub fn key(&self, key: u8) -> String {
        self.key.replace('#', &key.to_string())
    }

    /// An expression: the number of the row's key, or 0.
    pub fn key_of_row(&self, prefix: &str) -> String {
        let is = |key: u8| {
            let condition = self.has_key.replace('#', &key.to_string());
            condition
                .split(" AND ")
                .map(|part| format!("{prefix}{part}"))
                .collect::<Vec<_>>()
                .join(" AND ")
        };
        format!(
            "CASE WHEN {} THEN 1 WHEN {} THEN 2 ELSE 0 END",
            is(1),
            is(2)
        )
    }

    pub fn enter(&self, key: u8) -> String {
        self.enter.replace('#', &key.to_string())
    }

    /// A row that has left its key, or never had one of those that are taken.
    pub fn insert(&self, id: i64, k: i64, is_in_key: bool) -> String {
        let name = self.name;
        let leave = match is_in_key {
            false if self.leave.starts_with("s =") => ", 'paid'",
            _ => ", 'open'",
        };
        format!("INSERT INTO {name} (id, k, s) VALUES ({id}, {k}{leave})")
    }

    /// The tables that hold rows, each once.
    pub fn leaves(&self) -> Vec<String> {
        match self.detaches {
            true => vec![format!("{}_1", self.name), format!("{}_rest", self.name)],
            false => vec![self.name.to_owned()],
        }
    }
}
