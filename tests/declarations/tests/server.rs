//! The declarations beside the server that `PG_CONFIG` names.

use pg_once_declarations::{
    Finding, Function, Functions, Repeated, Server, Type, compare, constants, functions, sources,
};
use std::collections::BTreeSet;
use std::path::PathBuf;

struct Lab {
    server: Server,
    functions: Functions,
    constants: Vec<Repeated>,
    /// One for each test, since they run side by side.
    scratch: PathBuf,
}

impl Lab {
    fn new(test: &str) -> Lab {
        let pg_config = std::env::var("PG_CONFIG").expect("PG_CONFIG names the server");
        let server = Server::of(&pg_config).unwrap();
        let sources = sources().unwrap();
        let scratch = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(test);
        std::fs::create_dir_all(&scratch).unwrap();
        Lab {
            functions: functions(&sources, server.major).unwrap(),
            constants: constants(&sources, server.major).unwrap(),
            scratch,
            server,
        }
    }

    fn compare(&self) -> Vec<Finding> {
        compare(
            &self.server,
            &self.functions,
            &self.constants,
            &self.scratch,
        )
        .unwrap()
    }

    /// Changes each of these functions in this way, all in one comparison, and demands that each is found.
    fn demand_all(mut self, which: impl Fn(&Function) -> bool, change: impl Fn(&mut Function)) {
        self.functions.functions.retain(which);
        self.functions.functions.iter_mut().for_each(change);
        let found: BTreeSet<_> = self
            .compare()
            .into_iter()
            .map(|finding| finding.name)
            .collect();
        let names = self
            .functions
            .functions
            .iter()
            .map(|function| &function.name);
        let missed: Vec<_> = names.filter(|name| !found.contains(*name)).collect();
        assert!(missed.is_empty(), "not found: {missed:?}");
        assert!(found.len() > 150, "only {} were changed", found.len());
    }
}

#[test]
fn what_is_declared_is_what_the_server_has() {
    let lab = Lab::new("declared");
    let findings = lab.compare();
    let told: Vec<_> = findings.iter().map(Finding::to_string).collect();
    println!(
        "declarations: {} functions and {} constants with {}",
        lab.functions.functions.len(),
        lab.constants.len(),
        lab.server.version
    );
    assert!(findings.is_empty(), "{}", told.join("\n"));
    assert!(
        lab.functions.functions.len() > 150,
        "most declarations were not read"
    );
}

fn has_arguments(function: &Function) -> bool {
    !function.arguments.is_empty()
}

fn all(_: &Function) -> bool {
    true
}

#[test]
fn a_missing_argument_is_found() {
    Lab::new("missing_argument")
        .demand_all(has_arguments, |function| drop(function.arguments.pop()));
}

#[test]
fn a_further_argument_is_found() {
    Lab::new("further_argument").demand_all(all, |function| {
        function.arguments.push(Type("struct unknown *".to_owned()));
    });
}

#[test]
fn an_argument_of_another_type_is_found() {
    Lab::new("another_type").demand_all(has_arguments, |function| {
        let last = function.arguments.len() - 1;
        function.arguments[last] = Type("double".to_owned());
    });
}

#[test]
fn another_result_is_found() {
    Lab::new("another_result").demand_all(all, |function| {
        let Type(result) = &function.result;
        function.result = Type(if result == "void" { "int" } else { "void" }.to_owned());
    });
}

#[test]
fn a_function_that_is_gone_is_found() {
    Lab::new("gone").demand_all(all, |function| function.name += "_of_old");
}

/// As `LockBuffer` is since PostgreSQL 19: the headers have it, the program does not.
#[test]
fn a_function_that_has_become_inline_is_found() {
    let mut lab = Lab::new("inline");
    lab.functions.functions = vec![Function {
        name: "list_length".to_owned(),
        file: "here".to_owned(),
        arguments: vec![Type("List *".to_owned())],
        is_variadic: false,
        result: Type("int".to_owned()),
    }];
    let findings = lab.compare();
    assert_eq!(findings.len(), 1);
    assert_eq!(findings[0].trouble, "the server does not export it");
}

#[test]
fn another_value_of_a_constant_is_found() {
    let mut lab = Lab::new("constant");
    lab.constants
        .iter_mut()
        .for_each(|repeated| repeated.value += 1);
    assert_eq!(lab.compare().len(), lab.constants.len());
}
