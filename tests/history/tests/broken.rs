//! The checks bite: a server that is broken on purpose does not pass them.

use pg_once_history::scene::{Scale, Scene, Terms};
use pg_once_history::verdict::judge;
use std::thread;

/// A trigger gives every third claim another storage key than the one it is looked for by, so that the
/// key is won once more.
#[test]
fn claims_that_are_not_found_again_are_noticed() {
    let scale = Scale::short();
    let scene = Scene::open(&scale, &[]);
    let mut session = scene.session();
    session.run(
        "CREATE FUNCTION misplace() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
             IF random() < 0.3 THEN NEW.hash_low := NEW.hash_low + 1; END IF;
             RETURN NEW; END $$;
         CREATE TRIGGER misplace BEFORE INSERT ON once.claim
             FOR EACH ROW EXECUTE FUNCTION misplace()",
    );
    let recorded = scene.record(Terms::USUAL, || thread::sleep(scale.length));
    drop(session);
    let why = judge(recorded.history, &mut scene.session(), "broken").unwrap_err();
    assert!(why.starts_with("claim "), "{why}");
    println!("noticed: {}", why.lines().next().unwrap_or_default());
}
