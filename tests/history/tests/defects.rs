//! Both checkers find every planted defect, and each says the same of every single history.

use pg_once_history::checker::Checker;
use pg_once_history::defect::{self, Defect};
use pg_once_history::scene::{Scale, Scene, Terms};
use pg_once_history::server;
use pg_once_history::verdict::{self, Findings};

/// How often a defect may stay hidden by chance.
const RECORDINGS: usize = 8;

#[test]
fn both_checkers_find_each_planted_defect() {
    let mut found = 0;
    let mut together = Findings::default();
    for defect in defect::ALL {
        let mut of_defect = Findings::default();
        let mut recordings = 0;
        while of_defect.rejected.contains(&0) && recordings < RECORDINGS {
            of_defect += judged(defect);
            recordings += 1;
        }
        let [one, other] = Checker::ALL;
        println!(
            "planted: {}: {one} rejects {}, {other} {} of {} histories in {recordings} recordings",
            defect.name, of_defect.rejected[0], of_defect.rejected[1], of_defect.things
        );
        found += usize::from(!of_defect.rejected.contains(&0));
        together += of_defect;
    }
    println!(
        "planted: {} defects, {found} found by both checkers; {} histories with {} operations judged, the \
         checkers disagree about {}",
        defect::ALL.len(),
        together.things,
        together.operations,
        together.without_agreement
    );
    assert_eq!(found, defect::ALL.len());
    assert_eq!(together.without_agreement, 0);
}

fn judged(defect: &Defect) -> Findings {
    let scale = Scale::short();
    let scene = Scene::open(&scale, &[]);
    scene.session().run(&defect.plant(&scene.database));
    let mut history = scene.record(Terms::USUAL, || ()).history;
    let mut session = scene.session();
    server::settle(&mut session);
    let findings =
        server::left(&mut session).and_then(|left| verdict::findings(&mut history, &left));
    findings
        .unwrap_or_else(|reason| panic!("{}: PG_ONCE_SEED={}: {reason}", defect.name, scale.seed))
}
