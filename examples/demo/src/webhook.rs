use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::Result;

/// What a delivery is about: the thing that deserves one notification.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Build {
    pub kind: &'static str,
    pub id: i64,
    pub repository: String,
}

/// The builds of all deliveries found below `folder`, in the order of delivery.
pub fn read_all(folder: &Path) -> Result<Vec<Build>> {
    let mut builds = Vec::new();
    for file in index_files(folder)? {
        let events: Vec<Value> = serde_json::from_str(&fs::read_to_string(&file)?)
            .map_err(|reason| format!("{}: {reason}", file.display()))?;
        for event in &events {
            let payloads = event["examples"].as_array().into_iter().flatten();
            builds.extend(payloads.filter_map(|payload| Build::of(&event["name"], payload)));
        }
    }
    if builds.is_empty() {
        return Err(format!("no deliveries about builds below {}", folder.display()).into());
    }
    Ok(builds)
}

pub fn distinct(builds: &[Build]) -> BTreeSet<Build> {
    builds.iter().cloned().collect()
}

impl Build {
    /// None where the event is not about a build. A check run belongs to its
    /// check suite, and a job of a workflow to the run of the workflow.
    fn of(event: &Value, payload: &Value) -> Option<Build> {
        let (kind, id) = match event.as_str()? {
            "check_run" => ("check_suite", &payload["check_run"]["check_suite"]["id"]),
            "check_suite" => ("check_suite", &payload["check_suite"]["id"]),
            "workflow_job" => ("workflow_run", &payload["workflow_job"]["run_id"]),
            "workflow_run" => ("workflow_run", &payload["workflow_run"]["id"]),
            "status" => ("status", &payload["id"]),
            _ => return None,
        };
        let repository = payload["repository"]["full_name"].as_str()?.to_owned();
        Some(Build {
            kind,
            id: id.as_i64()?,
            repository,
        })
    }
}

/// One file per API: api.github.com, ghes-31 ... as `npm pack` has them, with
/// or without its folder `package`.
fn index_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let package = folder.join("package");
    let root = if package.is_dir() {
        package
    } else {
        folder.to_owned()
    };
    let entries = fs::read_dir(&root).map_err(|reason| format!("{}: {reason}", root.display()))?;
    let mut files = Vec::new();
    for entry in entries {
        let index = entry?.path().join("index.json");
        if index.is_file() {
            files.push(index);
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn jobs_belong_to_the_run_of_their_workflow() {
        let repository = json!({"full_name": "octo-org/octo-repo"});
        let job = json!({"workflow_job": {"id": 1, "run_id": 7}, "repository": repository});
        let run = json!({"workflow_run": {"id": 7}, "repository": repository});
        let build = Build::of(&json!("workflow_job"), &job);
        assert_eq!(build.as_ref().map(|build| build.id), Some(7));
        assert_eq!(build, Build::of(&json!("workflow_run"), &run));
    }

    #[test]
    fn other_events_are_not_about_builds() {
        let star = json!({"id": 7, "repository": {"full_name": "octo-org/octo-repo"}});
        assert_eq!(Build::of(&json!("star"), &star), None);
    }
}
