//! A4: the archive of merged rows, which is no member of the extension: put there by others before a merge
//! makes it, or with something of its owner's attached.

use pg_once_attacks::{Actor, Scene, count, plain, trap, trap_trigger};

/// The archive as a merge makes it.
const COLUMNS: &str = "id uuid NOT NULL DEFAULT gen_random_uuid(),
    merged_at timestamptz NOT NULL DEFAULT transaction_timestamp(),
    merged_in xid8 NOT NULL DEFAULT pg_current_xact_id(), merged_by text NOT NULL, table_name text NOT NULL,
    reason text NOT NULL, key jsonb NOT NULL, kept jsonb NOT NULL, removed jsonb NOT NULL, moved jsonb";

/// What runs code when the archive is written.
const ATTACHED: &[(&str, &str)] = &[
    (
        "a trigger before",
        "CREATE TRIGGER t BEFORE INSERT OR UPDATE ON once.merged_rows FOR EACH ROW EXECUTE FUNCTION %.fired()",
    ),
    (
        "a trigger behind",
        "CREATE TRIGGER t AFTER INSERT OR UPDATE ON once.merged_rows FOR EACH ROW EXECUTE FUNCTION %.fired()",
    ),
    (
        "a trigger of the statement",
        "CREATE TRIGGER t BEFORE INSERT ON once.merged_rows FOR EACH STATEMENT EXECUTE FUNCTION %.fired()",
    ),
    (
        "a deferred trigger",
        "CREATE CONSTRAINT TRIGGER t AFTER INSERT ON once.merged_rows DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION %.fired()",
    ),
    (
        "a trigger's condition",
        "CREATE TRIGGER t BEFORE INSERT ON once.merged_rows FOR EACH ROW WHEN (%.seen()) EXECUTE FUNCTION pg_catalog.suppress_redundant_updates_trigger()",
    ),
    (
        "a rule",
        "CREATE RULE r AS ON INSERT TO once.merged_rows DO ALSO SELECT %.seen()",
    ),
    (
        "a policy",
        "ALTER TABLE once.merged_rows ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
         CREATE POLICY p ON once.merged_rows USING (%.seen()) WITH CHECK (%.seen())",
    ),
    (
        "a check",
        "ALTER TABLE once.merged_rows ADD CHECK (%.seen())",
    ),
    (
        "a default",
        "ALTER TABLE once.merged_rows ADD d boolean DEFAULT %.seen()",
    ),
    (
        "a default of its own column",
        "ALTER TABLE once.merged_rows ALTER id SET DEFAULT CASE WHEN %.seen() THEN gen_random_uuid() END",
    ),
    (
        "a generated column",
        "ALTER TABLE once.merged_rows ADD g boolean GENERATED ALWAYS AS (%.seen() AND reason <> '') STORED",
    ),
    (
        "an index",
        "CREATE INDEX ON once.merged_rows ((%.seen() AND reason <> ''))",
    ),
    (
        "a foreign key",
        "CREATE TABLE %.reasons (reason text PRIMARY KEY); CREATE RULE r AS ON UPDATE TO %.reasons DO ALSO SELECT %.seen();
         INSERT INTO %.reasons VALUES ('duplicate by (k): the oldest by id was kept');
         ALTER TABLE once.merged_rows ADD FOREIGN KEY (reason) REFERENCES %.reasons",
    ),
    ("nothing", "SELECT"),
];

fn traps(actor: &mut Actor, schema: &str) {
    actor.run(&trap(&format!("{schema}.seen()"), "boolean", "true"));
    actor.run(&trap_trigger(&format!("{schema}.fired")));
}

const COPIES: &str = "CREATE TABLE IF NOT EXISTS shop.copies (id int PRIMARY KEY, k int);
    INSERT INTO shop.copies VALUES (1, 1), (2, 1) ON CONFLICT DO NOTHING";
const MERGE: &str = "SELECT once.merge_duplicates('shop.copies', '{k}', dry_run => false)";

/// Somebody was given CREATE on schema once: what they put there is not taken for the archive, neither by
/// the superuser nor by the owner of the rows, and no row is lost.
#[test]
fn an_archive_of_somebody_else_is_not_used() {
    let scene = Scene::tenants(plain());
    let (mut superuser, mut eve, mut shop) = (scene.superuser(), scene.eve(), scene.shop());
    superuser.run("GRANT CREATE ON SCHEMA once TO @eve");
    traps(&mut eve, "eve");
    shop.run(COPIES);
    let mut attacks = 0;
    for (what, attached) in ATTACHED {
        eve.run(&format!("CREATE TABLE once.merged_rows ({COLUMNS})"));
        eve.run(&attached.replace('%', "eve"));
        for actor in [&mut superuser, &mut shop] {
            assert_eq!(actor.told(MERGE), "55000", "{what}");
            attacks += 1;
        }
        eve.run("DROP TABLE once.merged_rows CASCADE; DROP TABLE IF EXISTS eve.reasons");
    }
    for planted in [
        "CREATE VIEW once.merged_rows AS SELECT eve.seen() AS id",
        "CREATE TYPE once.merged_rows AS (id uuid)",
        "CREATE SEQUENCE once.merged_rows",
        "CREATE MATERIALIZED VIEW once.merged_rows AS SELECT 1 AS id",
    ] {
        eve.run(planted);
        assert_eq!(superuser.told(MERGE), "55000", "{planted}");
        attacks += 1;
        eve.run(
            "DO $$ DECLARE kind text; BEGIN FOREACH kind IN ARRAY '{VIEW,TYPE,SEQUENCE,MATERIALIZED VIEW}'::text[] LOOP
                 BEGIN EXECUTE format('DROP %s once.merged_rows', kind); EXCEPTION WHEN OTHERS THEN END; END LOOP; END $$",
        );
    }
    // A type or an index of this name is in the way, too.
    for (planted, removed) in [
        (
            "CREATE DOMAIN once.merged_rows AS int",
            "DROP DOMAIN once.merged_rows",
        ),
        (
            "CREATE TABLE once.other (i int); CREATE INDEX merged_rows_pkey ON once.other (i)",
            "DROP TABLE once.other",
        ),
    ] {
        eve.run(planted);
        assert!(
            matches!(superuser.told(MERGE).as_str(), "42710" | "42P07"),
            "{planted}"
        );
        attacks += 1;
        eve.run(removed);
    }
    assert_eq!(superuser.number("SELECT count(*) FROM shop.copies"), 2);
    assert_eq!(superuser.told(MERGE), "00000");
    scene.nobody_got_in(&["@eve"]);
    count("archives of others", attacks);
}

/// What the extension's owner attaches to the archive runs as the owner, whoever merges.
#[test]
fn what_its_owner_attaches_runs_as_its_owner() {
    let scene = Scene::tenants(plain());
    let (mut superuser, mut tenant, mut shop) = (scene.superuser(), scene.tenant(), scene.shop());
    traps(&mut tenant, "tenant");
    shop.run(COPIES);
    superuser.run(MERGE);
    let mut attacks = 0;
    for (what, attached) in ATTACHED {
        let told = tenant.told(&attached.replace('%', "tenant"));
        // An index is an object of schema once, in which its owner may not create.
        assert_eq!(
            told,
            if *what == "an index" {
                "42501"
            } else {
                "00000"
            },
            "{what}"
        );
        for actor in [&mut superuser, &mut shop] {
            shop_again(actor);
            let told = actor.told(MERGE);
            assert!(
                matches!(
                    told.as_str(),
                    "00000" | "42501" | "55000" | "0A000" | "42P10"
                ),
                "{what}: {told}"
            );
            attacks += 1;
        }
        // Moved away, which needs no superuser; the next merge makes another one.
        tenant.run("CREATE SCHEMA IF NOT EXISTS tenant_kept; ALTER TABLE once.merged_rows SET SCHEMA tenant_kept; DROP TABLE tenant_kept.merged_rows CASCADE; DROP TABLE IF EXISTS tenant.reasons");
        shop_again(&mut shop);
        superuser.run(MERGE);
    }
    assert_eq!(superuser.number("SELECT count(*) FROM shop.copies"), 1);
    scene.nobody_got_in(&["@tenant"]);
    count("attached to the archive", attacks);
}

fn shop_again(actor: &mut Actor) {
    actor.run("INSERT INTO shop.copies VALUES (2, 1) ON CONFLICT DO NOTHING");
}

/// A superuser's table that is moved there, or that was somebody's before, is written as its owner only.
#[test]
fn an_archive_that_changes_hands_takes_nobody_along() {
    let scene = Scene::tenants(plain());
    let (mut superuser, mut eve, mut shop) = (scene.superuser(), scene.eve(), scene.shop());
    superuser.run("GRANT CREATE ON SCHEMA once TO @eve");
    traps(&mut eve, "eve");
    shop.run(COPIES);
    let mut attacks = 0;
    for (what, attached) in ATTACHED.iter().filter(|(what, _)| what.contains("trigger")) {
        eve.run(&format!("CREATE TABLE once.merged_rows ({COLUMNS})"));
        eve.run(&attached.replace('%', "eve"));
        superuser.run("ALTER TABLE once.merged_rows OWNER TO @tenant");
        assert_eq!(superuser.told(MERGE), "55000", "{what}");
        attacks += 1;
        superuser.run("DROP TABLE once.merged_rows");
    }
    scene.nobody_got_in(&["@eve"]);
    count("archives of former owners", attacks);
}
