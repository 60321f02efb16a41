//! B3: what merging and finding duplicates runs of the objects of others.

use pg_once_attacks::{Actor, Scene, count, plain, trap, trap_trigger};

/// What eve hangs on shop.payments, to which she has SELECT and REFERENCES: a table of hers that points at
/// it, with something that runs her function when its rows are moved.
const CHILDREN: &[(&str, &str)] = &[
    (
        "a trigger before",
        "CREATE TRIGGER t BEFORE UPDATE OR DELETE ON eve.child FOR EACH ROW EXECUTE FUNCTION eve.fired()",
    ),
    (
        "a trigger behind",
        "CREATE TRIGGER t AFTER UPDATE OR DELETE ON eve.child FOR EACH ROW EXECUTE FUNCTION eve.fired()",
    ),
    (
        "a trigger of the statement",
        "CREATE TRIGGER t BEFORE UPDATE OR DELETE ON eve.child FOR EACH STATEMENT EXECUTE FUNCTION eve.fired()",
    ),
    (
        "a trigger with transition tables",
        "CREATE TRIGGER t AFTER UPDATE ON eve.child REFERENCING NEW TABLE AS n FOR EACH STATEMENT EXECUTE FUNCTION eve.fired()",
    ),
    (
        "a deferred trigger",
        "CREATE CONSTRAINT TRIGGER t AFTER UPDATE OR DELETE ON eve.child DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION eve.fired()",
    ),
    (
        "a trigger's condition",
        "CREATE TRIGGER t BEFORE UPDATE ON eve.child FOR EACH ROW WHEN (eve.seen()) EXECUTE FUNCTION pg_catalog.suppress_redundant_updates_trigger()",
    ),
    (
        "a trigger that is always on",
        "CREATE TRIGGER t BEFORE UPDATE ON eve.child FOR EACH ROW EXECUTE FUNCTION eve.fired(); ALTER TABLE eve.child ENABLE ALWAYS TRIGGER t",
    ),
    (
        "a rule",
        "CREATE RULE r AS ON UPDATE TO eve.child DO ALSO SELECT eve.seen()",
    ),
    (
        "a rule instead",
        "CREATE RULE r AS ON UPDATE TO eve.child WHERE eve.seen() DO INSTEAD NOTHING",
    ),
    (
        "a policy",
        "ALTER TABLE eve.child ENABLE ROW LEVEL SECURITY; CREATE POLICY p ON eve.child USING (eve.seen()) WITH CHECK (eve.seen())",
    ),
    ("a check", "ALTER TABLE eve.child ADD CHECK (eve.seen())"),
    (
        "a generated column",
        "ALTER TABLE eve.child ADD g boolean GENERATED ALWAYS AS (eve.seen() AND payment_id > 0) STORED",
    ),
    (
        "an index expression",
        "CREATE INDEX ON eve.child ((eve.seen() AND payment_id > 0))",
    ),
    (
        "an index predicate",
        "CREATE INDEX ON eve.child (payment_id) WHERE eve.seen() AND payment_id > 0",
    ),
    (
        "a grandchild",
        "CREATE TABLE eve.grandchild (child_id int REFERENCES eve.child ON UPDATE CASCADE ON DELETE CASCADE); CREATE TRIGGER t BEFORE UPDATE OR DELETE ON eve.grandchild FOR EACH ROW EXECUTE FUNCTION eve.fired()",
    ),
    (
        "an inheritance child",
        "CREATE TABLE eve.heir () INHERITS (eve.child); CREATE TRIGGER t BEFORE UPDATE ON eve.heir FOR EACH ROW EXECUTE FUNCTION eve.fired(); INSERT INTO eve.heir VALUES (7, 2)",
    ),
    (
        "extended statistics",
        "CREATE STATISTICS eve.s ON (eve.seen() AND payment_id > 0), id FROM eve.child",
    ),
];

/// The same with types of eve's in the place of the id that points.
const TYPED: &[(&str, &str)] = &[
    (
        "a domain's check",
        "CREATE DOMAIN eve.number AS int CHECK (eve.fits(VALUE)); CREATE TABLE eve.child (id int PRIMARY KEY, payment_id eve.number REFERENCES shop.payments)",
    ),
    (
        "a cast to json",
        "CREATE TYPE eve.mood AS ENUM ('good'); CREATE FUNCTION eve.told(value eve.mood) RETURNS json LANGUAGE plpgsql AS $$ BEGIN PERFORM eve.seen(); RETURN '1'; END $$; CREATE CAST (eve.mood AS json) WITH FUNCTION eve.told(eve.mood); CREATE TABLE eve.child (id eve.mood PRIMARY KEY, payment_id int REFERENCES shop.payments)",
    ),
    (
        "a key of a domain",
        "CREATE DOMAIN eve.number AS int CHECK (eve.fits(VALUE)); CREATE TABLE eve.child (id eve.number PRIMARY KEY, payment_id int REFERENCES shop.payments)",
    ),
    (
        "partitions",
        "CREATE TABLE eve.child (id int, payment_id int REFERENCES shop.payments) PARTITION BY LIST (payment_id); CREATE TABLE eve.child_1 PARTITION OF eve.child DEFAULT; CREATE TRIGGER t BEFORE UPDATE OR DELETE ON eve.child_1 FOR EACH ROW EXECUTE FUNCTION eve.fired(); CREATE TRIGGER u AFTER INSERT ON eve.child_1 FOR EACH ROW EXECUTE FUNCTION eve.fired()",
    ),
    (
        "partitions that rows move between",
        "CREATE TABLE eve.child (id int, payment_id int REFERENCES shop.payments) PARTITION BY LIST (payment_id); CREATE TABLE eve.child_1 PARTITION OF eve.child FOR VALUES IN (1); CREATE TABLE eve.child_2 PARTITION OF eve.child FOR VALUES IN (2); CREATE TRIGGER t BEFORE INSERT ON eve.child_1 FOR EACH ROW EXECUTE FUNCTION eve.fired(); CREATE TRIGGER u BEFORE DELETE ON eve.child_2 FOR EACH ROW EXECUTE FUNCTION eve.fired()",
    ),
    (
        "cascades",
        "CREATE TABLE eve.child (id int PRIMARY KEY, payment_id int REFERENCES shop.payments ON UPDATE CASCADE ON DELETE CASCADE); CREATE TRIGGER t BEFORE UPDATE OR DELETE ON eve.child FOR EACH ROW EXECUTE FUNCTION eve.fired()",
    ),
    (
        "SET NULL",
        "CREATE TABLE eve.child (id int PRIMARY KEY, payment_id int REFERENCES shop.payments ON DELETE SET NULL); CREATE TRIGGER t BEFORE UPDATE OR DELETE ON eve.child FOR EACH ROW EXECUTE FUNCTION eve.fired()",
    ),
    (
        "a default of ON DELETE",
        "CREATE TABLE eve.child (id int PRIMARY KEY, payment_id int DEFAULT CASE WHEN eve.seen() THEN 1 END REFERENCES shop.payments ON DELETE SET DEFAULT)",
    ),
    (
        "a deferred key",
        "CREATE TABLE eve.child (id int PRIMARY KEY, payment_id int REFERENCES shop.payments DEFERRABLE INITIALLY DEFERRED); CREATE TRIGGER t AFTER UPDATE ON eve.child FOR EACH ROW EXECUTE FUNCTION eve.fired()",
    ),
];

const CALLS: &[&str] = &[
    "SELECT * FROM once.merge_duplicates('shop.payments', '{n}')",
    "SELECT * FROM once.merge_duplicates('shop.payments', '{n}', dry_run => false)",
    "SELECT * FROM once.merge_duplicates('shop.payments', '{n}', 'newest', false)",
    "SELECT * FROM once.find_duplicates('shop.payments', '{n}')",
    "SELECT * FROM once.guard_plan('shop.payments', '{n}')",
];

fn prepare(scene: &Scene) -> (Actor, Actor) {
    let (mut shop, mut eve) = (scene.shop(), scene.eve());
    shop.run(
        "CREATE TABLE shop.payments (id int PRIMARY KEY, n int);
         INSERT INTO shop.payments VALUES (1, 1), (2, 1), (3, 2);
         GRANT SELECT, REFERENCES ON shop.payments TO @eve",
    );
    eve.run(&trap("eve.seen()", "boolean", "true"));
    eve.run(&trap("eve.fits(value int)", "boolean", "true"));
    eve.run(&trap_trigger("eve.fired"));
    eve.run("GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA eve TO PUBLIC");
    (shop, eve)
}

/// Each call, with the deferred triggers behind it, by a superuser and by the table's owner.
fn attack(scene: &Scene, caller: &mut Actor) -> usize {
    for call in CALLS {
        caller.run("BEGIN");
        let answer = caller.try_run(call);
        if let Err(failure) = &answer {
            let told = failure.sqlstate();
            assert!(
                told != "lost" && !told.starts_with("XX"),
                "{call}: {answer:?}"
            );
        }
        let _ = caller.try_run("SET CONSTRAINTS ALL IMMEDIATE");
        let _ = caller.try_run("ROLLBACK");
    }
    scene.server_is_whole(&[]);
    CALLS.len()
}

#[test]
fn merging_runs_nothing_of_strangers() {
    let mut attacks = 0;
    let untyped =
        "CREATE TABLE eve.child (id int PRIMARY KEY, payment_id int REFERENCES shop.payments)";
    let cases = CHILDREN
        .iter()
        .map(|(kind, made)| {
            (
                *kind,
                format!("{untyped}; INSERT INTO eve.child VALUES (1, 1), (2, 2); {made}"),
            )
        })
        .chain(TYPED.iter().map(|(kind, made)| {
            let id = if kind.contains("json") {
                "'good', 2"
            } else {
                "2, 2"
            };
            (
                *kind,
                format!("{made}; INSERT INTO eve.child VALUES ({id})"),
            )
        }));
    let mut ran = Vec::new();
    for (kind, made) in cases {
        let scene = Scene::superusers(plain());
        let (mut shop, mut eve) = prepare(&scene);
        eve.run(&format!(
            "{made}; GRANT ALL ON ALL TABLES IN SCHEMA eve TO PUBLIC"
        ));
        attacks += attack(&scene, &mut scene.superuser());
        attacks += attack(&scene, &mut shop);
        let _ = shop.try_run(CALLS[1]);
        let foreign: Vec<_> = scene
            .payloads()
            .into_iter()
            .filter(|(_, role)| *role != scene.named("@eve"))
            .collect();
        if !foreign.is_empty() {
            ran.push((kind, foreign));
        }
    }
    assert!(ran.is_empty(), "{ran:#?}");
    count("objects of strangers in merges", attacks);
}

/// What eve owns and the table uses: types, operators and casts of its columns.
#[test]
fn finding_runs_no_casts_of_strangers() {
    let scene = Scene::superusers(plain());
    let (mut shop, mut eve) = prepare(&scene);
    eve.run(
        "CREATE TYPE eve.mood AS ENUM ('good', 'bad');
         CREATE TYPE eve.pair AS (a int, b int);
         CREATE FUNCTION eve.told(value eve.mood) RETURNS json LANGUAGE plpgsql AS $$ BEGIN PERFORM eve.seen(); RETURN '1'; END $$;
         CREATE FUNCTION eve.told(value eve.pair) RETURNS json LANGUAGE plpgsql AS $$ BEGIN PERFORM eve.seen(); RETURN '1'; END $$;
         CREATE FUNCTION eve.toldb(value eve.mood) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN PERFORM eve.seen(); RETURN '1'; END $$;
         CREATE FUNCTION eve.said(value eve.mood) RETURNS text LANGUAGE plpgsql AS $$ BEGIN PERFORM eve.seen(); RETURN '1'; END $$;
         CREATE FUNCTION eve.same(a eve.mood, b eve.mood) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RETURN eve.seen(); END $$;
         CREATE CAST (eve.mood AS json) WITH FUNCTION eve.told(eve.mood);
         CREATE CAST (eve.pair AS json) WITH FUNCTION eve.told(eve.pair);
         CREATE CAST (eve.mood AS jsonb) WITH FUNCTION eve.toldb(eve.mood) AS IMPLICIT;
         CREATE CAST (eve.mood AS text) WITH FUNCTION eve.said(eve.mood) AS IMPLICIT;
         CREATE OPERATOR eve.= (LEFTARG = eve.mood, RIGHTARG = eve.mood, FUNCTION = eve.same);
         GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA eve TO PUBLIC; GRANT USAGE ON TYPE eve.mood TO PUBLIC",
    );
    shop.run(
        "SET search_path = eve, shop, public;
         CREATE TABLE shop.moody (id int PRIMARY KEY, n int, m eve.mood, p eve.pair, ms eve.mood[]);
         INSERT INTO shop.moody VALUES (1, 1, 'good', '(1,2)', '{good}'), (2, 1, 'good', '(1,2)', '{good}');
         CREATE TABLE shop.keyed (m eve.mood PRIMARY KEY, n int);
         INSERT INTO shop.keyed VALUES ('good', 1), ('bad', 1)",
    );
    let mut attacks = 0;
    let mut superuser = scene.superuser();
    superuser.run("SET search_path = eve, shop, public");
    for caller in [&mut shop, &mut superuser] {
        for call in [
            "once.find_duplicates('shop.moody', '{m}')",
            "once.find_duplicates('shop.moody', '{n}')",
            "once.find_duplicates('shop.moody', '{ms}')",
            "once.find_duplicates('shop.keyed', '{n}')",
            "once.merge_duplicates('shop.moody', '{n}')",
            "once.merge_duplicates('shop.moody', '{m}')",
            "once.merge_duplicates('shop.keyed', '{n}')",
            "once.guard_plan('shop.keyed', '{n}')",
            "with_row_lock(NULL::shop.moody, '{\"id\": 1, \"m\": \"good\"}')",
            "find_or_create(NULL::shop.keyed, '{\"m\": \"good\"}')",
            "find_or_create(NULL::shop.moody, '{\"id\": 9, \"m\": \"bad\"}', '{\"ms\": [\"good\"]}', lock => true)",
            "once_key('good'::eve.mood, 'x')",
            "claim_once('n', 'good'::eve.mood, 'x')",
        ] {
            let answer = caller.try_run(&format!("SELECT * FROM {call}"));
            if let Err(failure) = &answer {
                assert!(!failure.sqlstate().starts_with("XX"), "{call}: {answer:?}");
            }
            attacks += 1;
        }
    }
    scene.nobody_got_in(&["@eve"]);
    count("casts and operators of strangers", attacks);
}
