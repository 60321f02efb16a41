//! The comparison: one C file, a line for each thing that is compared, behind the server's headers.

use crate::constant::{LAYOUTS, Repeated};
use crate::function::Functions;
use crate::server::Server;
use std::fmt;
use std::fs;
use std::path::Path;
use std::process::Command;

/// Those that declare something that the extension repeats.
const HEADERS: &[&str] = &[
    "access/detoast.h",
    "access/genam.h",
    "access/heapam.h",
    "access/htup_details.h",
    "access/itup.h",
    "access/multixact.h",
    "access/nbtree.h",
    "access/parallel.h",
    "access/relation.h",
    "access/stratnum.h",
    "access/sysattr.h",
    "access/table.h",
    "access/tableam.h",
    "access/transam.h",
    "access/tupconvert.h",
    "access/tupdesc.h",
    "access/visibilitymap.h",
    "access/xact.h",
    "access/xlog.h",
    "catalog/dependency.h",
    "catalog/heap.h",
    "catalog/index.h",
    "catalog/namespace.h",
    "catalog/objectaddress.h",
    "catalog/partition.h",
    "catalog/pg_constraint.h",
    "catalog/pg_db_role_setting.h",
    "catalog/pg_inherits.h",
    "catalog/pg_type.h",
    "commands/dbcommands.h",
    "commands/defrem.h",
    "commands/extension.h",
    "commands/tablecmds.h",
    "commands/trigger.h",
    "commands/vacuum.h",
    "executor/executor.h",
    "executor/spi.h",
    "executor/tuptable.h",
    "fmgr.h",
    "funcapi.h",
    "mb/pg_wchar.h",
    "miscadmin.h",
    "nodes/bitmapset.h",
    "nodes/makefuncs.h",
    "nodes/nodeFuncs.h",
    "nodes/params.h",
    "nodes/pathnodes.h",
    "nodes/pg_list.h",
    "optimizer/clauses.h",
    "optimizer/optimizer.h",
    "optimizer/plancat.h",
    "optimizer/planner.h",
    "parser/analyze.h",
    "parser/parse_coerce.h",
    "parser/parse_func.h",
    "parser/parse_node.h",
    "parser/parse_oper.h",
    "parser/parse_relation.h",
    "parser/parse_type.h",
    "parser/parser.h",
    "parser/parsetree.h",
    "pgstat.h",
    "postmaster/bgworker.h",
    "postmaster/interrupt.h",
    "rewrite/rewriteHandler.h",
    "rewrite/rewriteManip.h",
    "storage/bufmgr.h",
    "storage/condition_variable.h",
    "storage/ipc.h",
    "storage/latch.h",
    "storage/lmgr.h",
    "storage/lock.h",
    "storage/lwlock.h",
    "storage/predicate.h",
    "storage/proc.h",
    "storage/procarray.h",
    "storage/shmem.h",
    "storage/sinval.h",
    "tcop/dest.h",
    "tcop/pquery.h",
    "tcop/tcopprot.h",
    "tcop/utility.h",
    "utils/acl.h",
    "utils/array.h",
    "utils/builtins.h",
    "utils/catcache.h",
    "utils/combocid.h",
    "utils/conffiles.h",
    "utils/date.h",
    "utils/datum.h",
    "utils/elog.h",
    "utils/expandeddatum.h",
    "utils/expandedrecord.h",
    "utils/fmgrprotos.h",
    "utils/guc.h",
    "utils/inval.h",
    "utils/jsonb.h",
    "utils/lsyscache.h",
    "utils/memutils.h",
    "utils/numeric.h",
    "utils/partcache.h",
    "utils/plancache.h",
    "utils/portal.h",
    "utils/ps_status.h",
    "utils/regproc.h",
    "utils/relcache.h",
    "utils/resowner.h",
    "utils/rls.h",
    "utils/ruleutils.h",
    "utils/selfuncs.h",
    "utils/snapmgr.h",
    "utils/syscache.h",
    "utils/timeout.h",
    "utils/timestamp.h",
    "utils/tuplestore.h",
    "utils/typcache.h",
    "utils/varlena.h",
    "utils/wait_event.h",
];

/// A declaration that is not the server's.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    pub name: String,
    pub file: String,
    /// The declaration in C, and what is to be said of it.
    pub declared: String,
    pub trouble: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let Self {
            name,
            file,
            declared,
            trouble,
        } = self;
        write!(
            f,
            "{name} ({file}): {declared}\n    {}",
            trouble.replace('\n', "\n    ")
        )
    }
}

struct Line {
    name: String,
    file: String,
    declared: String,
    c: String,
}

/// All that differs between what is declared and this server. The C file is written to `scratch`.
pub fn compare(
    server: &Server,
    functions: &Functions,
    constants: &[Repeated],
    scratch: &Path,
) -> Result<Vec<Finding>, String> {
    let lines = lines(functions, constants);
    let mut text = String::from("#include \"postgres.h\"\n#include <signal.h>\n");
    for header in HEADERS
        .iter()
        .filter(|header| server.headers.join(header).exists())
    {
        text += &format!("#include \"{header}\"\n");
    }
    let first = text.lines().count() + 1;
    for line in &lines {
        text += &line.c;
        text.push('\n');
    }
    let file = scratch.join(format!("declarations-{}.c", server.major));
    fs::write(&file, text).map_err(|error| format!("{}: {error}", file.display()))?;

    let mut findings: Vec<Finding> = Vec::new();
    for (number, trouble) in compile(server, &file)? {
        let Some(line) = number.checked_sub(first).and_then(|place| lines.get(place)) else {
            return Err(format!("the headers do not compile: {trouble}"));
        };
        let trouble = match trouble.contains("undeclared") {
            true => format!(
                "{trouble}\n(if a header declares it, that is missing in HEADERS of tests/declarations)"
            ),
            false => trouble,
        };
        match findings
            .iter_mut()
            .find(|finding| finding.name == line.name && finding.file == line.file)
        {
            Some(finding) => finding.trouble += &format!("\n{trouble}"),
            None => findings.push(line.finding(trouble)),
        }
    }
    for function in &functions.functions {
        let is_found = findings.iter().any(|finding| finding.name == function.name);
        if !is_found && !server.symbols.contains(&function.name) {
            findings.push(Finding {
                name: function.name.clone(),
                file: function.file.clone(),
                declared: function.declaration(),
                trouble: "the server does not export it".to_owned(),
            });
        }
    }
    Ok(findings)
}

fn lines(functions: &Functions, constants: &[Repeated]) -> Vec<Line> {
    let types = functions.types.iter().map(|(name, c)| Line {
        name: name.clone(),
        file: String::new(),
        declared: c.clone(),
        c: c.clone(),
    });
    let functions = functions.functions.iter().map(|function| Line {
        name: function.name.clone(),
        file: function.file.clone(),
        declared: function.declaration(),
        // The second is an error where the headers declare it otherwise, the first where they do not declare it.
        c: format!(
            "typedef __typeof__(&{0}) declared_{0}; {1}",
            function.name,
            function.declaration()
        ),
    });
    let constants = constants.iter().map(|Repeated { constant, value }| Line {
        name: constant.name.to_owned(),
        file: constant.file.to_owned(),
        declared: format!("{} is {value}", constant.name),
        c: format!(
            "_Static_assert((long long) ({}) == {value}LL, \"{} has another value\");",
            constant.c, constant.c
        ),
    });
    let layouts = LAYOUTS.iter().map(|(file, c)| Line {
        name: (*c).to_owned(),
        file: (*file).to_owned(),
        declared: (*c).to_owned(),
        c: format!("_Static_assert({c}, \"it does not hold\");"),
    });
    types
        .chain(functions)
        .chain(constants)
        .chain(layouts)
        .collect()
}

impl Line {
    fn finding(&self, trouble: String) -> Finding {
        Finding {
            name: self.name.clone(),
            file: self.file.clone(),
            declared: self.declared.clone(),
            trouble,
        }
    }
}

/// What the compiler finds wrong: the line of the file, and its words with the notes behind them.
fn compile(server: &Server, file: &Path) -> Result<Vec<(usize, String)>, String> {
    let compiler = std::env::var("CC").unwrap_or_else(|_| "cc".to_owned());
    let output = Command::new(&compiler)
        .args(["-fsyntax-only", "-w", "-D_GNU_SOURCE", "-Dconst=", "-I"])
        .arg(&server.headers)
        .arg(file)
        .env("LC_ALL", "C")
        .output()
        .map_err(|error| format!("{compiler}: {error}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    let mut errors: Vec<(usize, String)> = Vec::new();
    let place = format!("{}:", file.display());
    for line in said.lines() {
        let begin = line.strip_prefix(&place).and_then(|behind| {
            let (number, behind) = behind.split_once(':')?;
            let (_, words) = behind.split_once(": ")?;
            Some((
                number.parse::<usize>().ok()?,
                words.strip_prefix("error: ")?,
            ))
        });
        match begin {
            Some((number, words)) => errors.push((number, words.to_owned())),
            // Of the notes the one that shows the server's declaration.
            None if line.contains(": note: ") => {
                if let (Some((_, words)), Some((_, note))) =
                    (errors.last_mut(), line.split_once(": note: "))
                {
                    *words += &format!("\n{note}");
                }
            }
            None => {}
        }
    }
    match (output.status.success(), errors.is_empty()) {
        (true, true) | (false, false) => Ok(errors),
        _ => Err(format!("{compiler}: {said}")),
    }
}
