//! B4 and minor 1: what a caller can set or plant before it calls a function that runs as another.

use pg_once_attacks::{Actor, Scene, count, plain, trap_trigger};

fn scene() -> (Scene, Actor) {
    let scene = Scene::superusers(plain());
    scene
        .superuser()
        .run("GRANT CREATE ON SCHEMA public TO @eve");
    let mut shop = scene.shop();
    shop.run(
        "CREATE TABLE shop.payments (service_id int, line_item_id text, amount int DEFAULT 0, UNIQUE (service_id, line_item_id));
         CREATE FUNCTION shop.pay(service int, item text) RETURNS boolean LANGUAGE plpgsql SECURITY DEFINER
             SET search_path = shop, public, pg_temp AS
             $$ BEGIN RETURN (SELECT created FROM with_payment_lock(service, item)); END $$;
         CREATE FUNCTION shop.pay_inside(service int, item text) RETURNS boolean LANGUAGE plpgsql
             SECURITY DEFINER SET search_path = shop, public, pg_temp AS $$ BEGIN RETURN shop.pay(service, item); END $$;
         CREATE FUNCTION shop.claim(k text) RETURNS boolean LANGUAGE plpgsql SECURITY DEFINER
             SET search_path = shop, public, pg_temp AS $$ BEGIN RETURN claim_once('shop', k); END $$",
    );
    let mut eve = scene.eve();
    eve.run(&trap_trigger("eve.fired"));
    // Who has not loaded the library may not name its settings in a function.
    eve.run("SELECT once_key('a')");
    eve.run(
        "CREATE TABLE eve.payments (service_id int, line_item_id text, UNIQUE (service_id, line_item_id));
         CREATE TRIGGER fired BEFORE INSERT OR UPDATE ON eve.payments FOR EACH ROW EXECUTE FUNCTION eve.fired();
         GRANT ALL ON eve.payments TO PUBLIC; GRANT EXECUTE ON FUNCTION eve.fired() TO PUBLIC;
         CREATE FUNCTION eve.call() RETURNS boolean LANGUAGE sql SET pg_once.payment_table = 'eve.payments'
             AS 'SELECT shop.pay(7, ''from a function'')'",
    );
    (scene, eve)
}

#[test]
fn a_setting_of_the_caller_does_not_reach_a_security_definer_function() {
    let (scene, mut eve) = scene();
    let mut landlord = scene.landlord();
    let mut superuser = scene.superuser();
    let mut attacks = 0;
    // How eve sets it, and what takes it back.
    let ways: &[(&str, &str)] = &[
        ("SET pg_once.payment_table = 'eve.payments'", "RESET ALL"),
        (
            "BEGIN; SET LOCAL pg_once.payment_table = 'eve.payments'",
            "COMMIT",
        ),
        (
            "SELECT set_config('pg_once.payment_table', 'eve.payments', false)",
            "RESET ALL",
        ),
        (
            "BEGIN; SELECT set_config('pg_once.payment_table', 'eve.payments', true)",
            "COMMIT",
        ),
        (
            "UPDATE pg_settings SET setting = 'eve.payments' WHERE name = 'pg_once.payment_table'",
            "RESET ALL",
        ),
        (
            "SET pg_once.payment_table = 'eve.payments'; BEGIN; SAVEPOINT s; SET LOCAL pg_once.payment_table = 'payments'; ROLLBACK TO s",
            "COMMIT; RESET ALL",
        ),
        (
            "SET pg_once.payment_table = '\"eve\".\"payments\"'; SET pg_once.duplicate_rows = 'first'",
            "RESET ALL",
        ),
        (
            "SET pg_once.payment_table = 'eve.payments'; SET search_path = eve; SET pg_once.claim_engine = 'direct'",
            "RESET ALL",
        ),
        (
            "DO $$ BEGIN SET pg_once.payment_table = 'eve.payments'; END $$",
            "RESET ALL",
        ),
    ];
    let mut item = 0;
    for (set, back) in ways {
        for (call, loaded) in [
            ("shop.pay", false),
            ("shop.pay", true),
            ("shop.pay_inside", true),
        ] {
            item += 1;
            let mut session = scene.eve();
            if loaded {
                session.run("SELECT once_key('a')");
            }
            session.run(set);
            let answer = session.try_run(&format!("SELECT {call}({item}, 'A')"));
            match &answer {
                Ok(_) => assert_eq!(
                    locked_or_created(&mut superuser, &mut session, item, back),
                    1,
                    "{set}: {call} took another payment"
                ),
                Err(failure) => assert!(
                    !failure.sqlstate().starts_with("XX") && failure.sqlstate() != "lost",
                    "{set}: {answer:?}"
                ),
            }
            attacks += 1;
        }
    }
    let _ = eve.try_run("SELECT eve.call()");
    // From the login on.
    let database = scene.database.name.clone();
    for (who, set) in [
        (
            false,
            format!(
                "ALTER ROLE @eve IN DATABASE {database} SET pg_once.payment_table = 'eve.payments'"
            ),
        ),
        (
            false,
            "ALTER ROLE @eve SET pg_once.payment_table = 'eve.payments'".to_owned(),
        ),
        (
            true,
            format!("ALTER DATABASE {database} SET pg_once.payment_table = 'eve.payments'"),
        ),
    ] {
        let setter = if who { &mut landlord } else { &mut eve };
        let told = setter.told(&set);
        let mut session = scene.eve();
        item += 1;
        let answer = session.try_run(&format!("SELECT shop.pay({item}, 'A')"));
        // What the owner of the database sets counts for everybody.
        if answer.is_ok() && !who {
            assert_eq!(
                superuser.number(&format!(
                    "SELECT count(*) FROM shop.payments WHERE service_id = {item}"
                )),
                1,
                "{set} ({told})"
            );
        }
        attacks += 2;
    }
    let ran: Vec<_> = scene
        .payloads()
        .into_iter()
        .filter(|(_, role)| *role == scene.named("@shop"))
        .collect();
    let by_the_owner_of_the_database = ran.len();
    assert!(by_the_owner_of_the_database <= 1, "{ran:?}");
    scene.server_is_whole(&[]);
    count("settings that reach into other functions", attacks + 1);
}

fn locked_or_created(superuser: &mut Actor, session: &mut Actor, item: usize, back: &str) -> i64 {
    session.run(back);
    superuser.number(&format!(
        "SELECT count(*) FROM shop.payments WHERE service_id = {item}"
    ))
}

/// A role that a superuser has become by SET ROLE, and the other way round.
#[test]
fn a_setting_does_not_follow_set_role() {
    let (scene, _eve) = scene();
    let mut superuser = scene.superuser();
    let mut attacks = 0;
    for item in 100..110 {
        superuser.run(
            "SET ROLE @eve; SET pg_once.payment_table = 'eve.payments'; RESET ROLE;
             SET search_path = shop, public",
        );
        let answer = superuser.try_run(&format!(
            "SELECT created FROM with_payment_lock({item}, 'A')"
        ));
        if let Err(failure) = &answer {
            assert!(!failure.sqlstate().starts_with("XX"), "{answer:?}");
        }
        superuser.run("SET ROLE @shop");
        let _ = superuser.try_run(&format!(
            "SELECT created FROM with_payment_lock({item}, 'B')"
        ));
        superuser.run("RESET ALL; RESET ROLE");
        attacks += 2;
    }
    scene.nobody_got_in(&["@eve"]);
    count("settings across SET ROLE", attacks);
}

/// Minor 1: functions of define_row_lock call nothing that somebody plants where the extension lives, or
/// where the caller's search_path leads.
#[test]
fn generated_functions_call_nothing_planted() {
    let (scene, mut eve) = scene();
    let mut shop = scene.shop();
    shop.run(
        "SET search_path = shop, public;
         SELECT once.define_row_lock('shop.lock_payment', 'shop.payments', '{service_id,line_item_id}');
         SELECT once.define_row_lock('shop.lock_amount', 'shop.payments', '{amount}')",
    );
    let planted = [
        "public.with_row_lock(target shop.payments, key jsonb, defaults jsonb, timeout interval)",
        "public.with_row_lock(target shop.payments, key jsonb)",
        "public.with_row_lock(target shop.payments, key jsonb, timeout interval)",
        "public.with_row_lock(target shop.payments, key json, defaults jsonb, timeout interval)",
        "eve.with_row_lock(target shop.payments, key jsonb, defaults jsonb, timeout interval)",
        "eve.jsonb_build_object(VARIADIC parts text[])",
        "eve.jsonb_build_object(a text, b int, c text, d text)",
        "eve.jsonb_build_object(a text, b int)",
        "eve.json_build_object(a text, b int, c text, d text)",
        "eve.to_jsonb(a int)",
        "eve.to_jsonb(a text)",
        "eve.jsonb_strip_nulls(a jsonb)",
        "eve.coalesce(a jsonb, b jsonb)",
    ];
    let mut made = 0;
    for signature in planted {
        let returns = if signature.contains("with_row_lock") {
            "SETOF shop.payments"
        } else {
            "jsonb"
        };
        eve.run(&format!(
            "CREATE FUNCTION {signature} RETURNS {returns} LANGUAGE plpgsql AS $trap$ BEGIN {} {} END $trap$",
            pg_once_attacks::payload(&signature.replace('\'', "")),
            if returns == "jsonb" { "RETURN '{}';" } else { "RETURN;" }
        ));
        made += 1;
    }
    eve.run(
        "CREATE DOMAIN eve.interval AS text; CREATE DOMAIN eve.jsonb AS text;
         CREATE FUNCTION eve.both(a jsonb, b jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN PERFORM eve.noted(); RETURN a; END $$;
         CREATE FUNCTION eve.noted() RETURNS void LANGUAGE plpgsql AS $$ BEGIN RAISE LOG 'payload of an operator ran as % in %', current_user, current_database(); END $$;
         CREATE OPERATOR eve.|| (LEFTARG = jsonb, RIGHTARG = jsonb, FUNCTION = eve.both);
         GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA eve, public TO PUBLIC",
    );
    let mut attacks = 0;
    let mut superuser = scene.superuser();
    for caller in [&mut shop, &mut superuser] {
        for path in [
            "shop, public",
            "''",
            "eve, public, pg_catalog",
            "eve, pg_temp, pg_catalog, public",
            "public, eve",
        ] {
            caller.run(&format!("SET search_path = {path}"));
            for call in [
                "shop.lock_payment(1, 'A')",
                "shop.lock_payment(1, 'A', '1 s')",
                "shop.lock_payment(service_id => 1, line_item_id => 'A')",
                "shop.lock_amount(1)",
            ] {
                let answer = caller.try_run(&format!("SELECT * FROM {call}"));
                if let Err(failure) = &answer {
                    assert!(!failure.sqlstate().starts_with("XX"), "{call}: {answer:?}");
                }
                attacks += made;
            }
        }
    }
    scene.nobody_got_in(&["@eve"]);
    count("overloads under generated functions", attacks);
}
