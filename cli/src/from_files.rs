//! The Plan of manifests, for a scaler without a cluster, and everything in them that has to be fixed.

use std::{fmt::Display, path::PathBuf};

use anyhow::{Result, bail};
use tidegate_cluster::{ManifestSettings, Manifests};
use tidegate_core::plan::Plan;

/// What `tidegate scaler -f` serves.
#[derive(Debug)]
pub(crate) struct Served {
    pub(crate) plan: Plan,
    /// A line each: what cannot be read, and annotations that are wrong
    pub(crate) problems: Vec<String>,
}

/// Reads manifests, and goes on past what is wrong in them. An error where nothing is left to serve; the problems are in the log
/// then, too.
pub(crate) fn served(files: &[PathBuf], settings: &ManifestSettings) -> Result<Served> {
    let read = Manifests::read(files, settings);
    let plan = read.objects.plan();
    let of_workloads = plan.workloads.iter().flat_map(|(id, workload)| {
        let problems = workload.intent.as_ref().err().into_iter().flatten();
        problems.map(move |problem| format!("{id}: {problem}"))
    });
    let problems: Vec<_> =
        read.errors.iter().map(ToString::to_string).chain(mistakes(&read, &plan)).chain(of_workloads).collect();
    for problem in &problems {
        tracing::error!("{problem}");
    }
    let scaled = plan.workloads.values().any(|workload| workload.intent.is_ok());
    match problems.len() {
        0 => {}
        wrong if !scaled && plan.services.is_empty() => {
            bail!("nothing in the files can be served, and {} above", has_to_be_fixed(wrong))
        }
        wrong => tracing::warn!(
            "serves what can be read of the files: {} above, and a restart to read them again. The exit code will be 1",
            has_to_be_fixed(wrong)
        ),
    }
    Ok(Served { plan, problems })
}

/// `1 problem has to be fixed: see`
pub(crate) fn has_to_be_fixed(wrong: usize) -> impl Display {
    if wrong == 1 {
        "1 problem has to be fixed: see".to_owned()
    } else {
        format!("{wrong} problems have to be fixed: see")
    }
}

/// Everything in the objects that has to be fixed before it can be acted on, a line each, apart from the annotations of workloads.
pub(crate) fn mistakes(read: &Manifests, plan: &Plan) -> Vec<String> {
    let of_objects = read.misplaced.iter().map(ToString::to_string);
    let of_namespaces = read
        .objects
        .namespaces()
        .flat_map(|(name, problems)| problems.into_iter().map(move |problem| format!("namespace {name}: {problem}")));
    let of_places = read.objects.misplaced().into_iter().map(|(bearer, what)| format!("{bearer}: {what}"));
    let of_gateways = plan.fleets.iter().flat_map(|fleet| &fleet.gateways).flat_map(|(id, gateway)| {
        let problems = gateway.intent.as_ref().err().into_iter().flatten().chain(&gateway.problems);
        problems.map(move |problem| format!("{id}: {problem}"))
    });
    let of_calendars =
        plan.calendars.iter().filter_map(|(name, known)| Some(format!("Calendar {name}: {}", known.as_ref().err()?)));
    of_objects.chain(of_namespaces).chain(of_places).chain(of_gateways).chain(of_calendars).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const GOOD: &str = "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: api\n  annotations: {tidegate.dev/kafka-lag: \"5\", \
                        tidegate.dev/kafka-group: g}\n";
    const TYPO: &str = "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: web\n  annotations: {tidegate.dev/max-replicsa: \"5\"}\n";

    fn read(files: &[(&str, &str)]) -> Result<Served> {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(folder.path().join(name), text).unwrap();
        }
        served(&[folder.path().to_owned()], &ManifestSettings::default())
    }

    #[test]
    fn a_file_with_errors_is_reported_line_by_line_and_the_others_are_served() {
        let read = read(&[("a.yaml", GOOD), ("b.yaml", "kind: [\n"), ("c.yaml", TYPO)]).unwrap();
        assert_eq!(read.plan.workloads.values().filter(|workload| workload.intent.is_ok()).count(), 1);
        let [unread, typo] = &read.problems[..] else { panic!("{:?}", read.problems) };
        assert!(unread.contains("b.yaml:"), "{unread}");
        assert!(typo.contains("web") && typo.contains("tidegate.dev/max-replicas"), "{typo}");
        assert_eq!(self::read(&[("a.yaml", GOOD)]).unwrap().problems, Vec::<String>::new());
    }

    #[test]
    fn files_in_which_nothing_can_be_served_end_the_process_at_once() {
        let error = read(&[("c.yaml", TYPO)]).unwrap_err().to_string();
        assert_eq!(error, "nothing in the files can be served, and 1 problem has to be fixed: see above");
        assert_eq!(read(&[]).unwrap().problems, Vec::<String>::new(), "no files in a folder are no mistake");
    }
}
