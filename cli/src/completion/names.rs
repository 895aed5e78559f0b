//! Names in the cluster that complete a command line: workloads, Gateways, namespaces, contexts.
//!
//! Tidegate is asked as the line says (`--context`, `--as`, `--admin`, …). A shell waits for the answer, so that what does not come
//! soon is left out, and no error is shown.

use std::{
    collections::BTreeSet,
    env,
    ffi::{OsStr, OsString},
    time::Duration,
};

use clap::{ArgMatches, FromArgMatches};
use clap_complete::CompletionCandidate;
use tidegate_scaler::overview::Overview;
use tokio::{runtime, time::timeout};

use crate::{
    args::{ClusterArgs, InstalledArgs, command},
    cluster,
    crypto::install_crypto,
    fleet,
    object::ObjectKind,
    tidegate::Tidegate,
};

/// Nobody waits longer for a TAB.
const WITHIN: Duration = Duration::from_secs(2);

/// TYPE/NAME of each workload and Gateway, or the names alone after a type.
pub(super) fn objects(current: &OsStr) -> Vec<CompletionCandidate> {
    let Some(line) = Line::of_process() else { return Vec::new() };
    let Some((overview, namespace)) = line.fleet() else { return Vec::new() };
    candidates(names(&overview, namespace.as_deref(), line.kind().as_ref()), current)
}

/// The namespaces with a workload or a Gateway of Tidegate's.
pub(super) fn namespaces(current: &OsStr) -> Vec<CompletionCandidate> {
    let found = Line::of_process().and_then(|line| line.fleet());
    let names = found.map(|(overview, _)| overview.rows().map(|row| row.namespace.clone()).collect());
    candidates(names.unwrap_or_default(), current)
}

/// The contexts of the kubeconfig.
pub(super) fn contexts(current: &OsStr) -> Vec<CompletionCandidate> {
    let cluster = Line::of_process().and_then(|line| line.cluster());
    candidates(cluster.iter().flat_map(cluster::contexts).collect(), current)
}

fn candidates(names: BTreeSet<String>, current: &OsStr) -> Vec<CompletionCandidate> {
    let Some(current) = current.to_str() else { return Vec::new() };
    names.into_iter().filter(|name| name.starts_with(current)).map(CompletionCandidate::new).collect()
}

/// How the objects of a namespace are named, those of one kind where it is given by a word of its own.
fn names(overview: &Overview, namespace: Option<&str>, kind: Option<&ObjectKind>) -> BTreeSet<String> {
    let rows = overview.rows().filter(|row| namespace.is_none_or(|namespace| row.namespace == namespace));
    match kind {
        Some(kind) => rows.filter(|row| fleet::is_of(row, kind)).map(|row| row.name.clone()).collect(),
        None => rows.map(fleet::object).collect(),
    }
}

/// A command line that is being typed.
struct Line(ArgMatches);

impl Line {
    /// That which this process is to complete: it stands behind `--`.
    fn of_process() -> Option<Self> {
        Self::of(env::args_os().skip_while(|word| word != "--").skip(1))
    }

    fn of(words: impl Iterator<Item = OsString>) -> Option<Self> {
        let matches = command().ignore_errors(true).try_get_matches_from(words).ok()?;
        Some(Self(matches.subcommand()?.1.clone()))
    }

    fn cluster(&self) -> Option<ClusterArgs> {
        ClusterArgs::from_arg_matches(&self.0).ok()
    }

    /// The type that stands before names.
    fn kind(&self) -> Option<ObjectKind> {
        let words: Vec<_> = self.0.try_get_many::<String>("objects").ok()??.collect();
        let is_before_names = words.len() > 1 && !words[0].contains('/');
        is_before_names.then(|| words[0].parse().ok()).flatten()
    }

    /// What Tidegate scales, and the namespace that the line is about.
    fn fleet(&self) -> Option<(Overview, Option<String>)> {
        let (cluster, installed) = (self.cluster()?, InstalledArgs::from_arg_matches(&self.0).ok()?);
        let given = self.0.try_get_one::<String>("namespace").ok().flatten().cloned();
        let all = self.0.try_get_one::<bool>("all_namespaces").ok().flatten().copied().unwrap_or_default();
        install_crypto();
        let asked = async {
            let tidegate = Tidegate::connect(&cluster, &installed).await.ok()?;
            let overview = fleet::ask(&tidegate, None, None).await.ok()?;
            let namespace = (!all).then(|| given.unwrap_or_else(|| tidegate.namespace().to_owned()));
            Some((overview, namespace))
        };
        let runtime = runtime::Builder::new_current_thread().enable_all().build().ok()?;
        runtime.block_on(async { timeout(WITHIN, asked).await }).ok()?
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::Fixture;

    fn line(words: &[&str]) -> Line {
        Line::of(words.iter().map(OsString::from)).unwrap()
    }

    #[test]
    fn a_line_that_is_half_typed_says_which_cluster_and_which_type_it_is_about() {
        let typed = line(&["tidegate", "explain", "--context", "staging", "--system-namespace=ops", "-n", "shop", ""]);
        let cluster = typed.cluster().unwrap();
        assert_eq!((cluster.context.as_deref(), cluster.request_timeout), (Some("staging"), Duration::from_secs(5)));
        assert_eq!(InstalledArgs::from_arg_matches(&typed.0).unwrap().system_namespace, "ops");
        assert_eq!(typed.kind(), None);
        assert_eq!(line(&["tidegate", "get", "deployments", "ap"]).kind(), Some("deployment".parse().unwrap()));
        assert_eq!(line(&["tidegate", "explain", "deployment/a", "deploy"]).kind(), None);
        // Not finished, and wrong: what is there is used all the same.
        assert!(line(&["tidegate", "wake", "--for", "soon", "-n"]).cluster().is_some());
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn names_come_from_the_cluster_as_the_line_says_and_an_answer_that_is_late_is_left_out() {
        let tidegate = Fixture::start().await;
        tidegate.has("/fleet", &serde_json::to_value(fleet::fixture::overview()).unwrap());
        let url = tidegate.url().to_owned();
        let named = |words: &'static [&'static str]| {
            let admin = format!("--admin={url}");
            // A thread that knows of no runtime, as the command line's own.
            let asked = std::thread::spawn(move || {
                let line = line(&[words, &[&admin]].concat());
                line.fleet().map(|(overview, namespace)| names(&overview, namespace.as_deref(), line.kind().as_ref()))
            });
            asked.join().unwrap()
        };
        let all = named(&["tidegate", "explain", "-n", "shop"]).unwrap();
        assert!(all.contains("deployment/api") && all.contains("gateway/web"), "{all:?}");
        let deployments = named(&["tidegate", "get", "-n", "shop", "deployments", "a"]).unwrap();
        assert!(deployments.contains("api") && !deployments.contains("web"), "{deployments:?}");
        assert_eq!(named(&["tidegate", "explain", "-n", "elsewhere"]).unwrap(), BTreeSet::new());
        tidegate.falls_silent();
        assert_eq!(named(&["tidegate", "explain", "--request-timeout=100ms"]), None);
    }
}
