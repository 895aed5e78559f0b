//! `tidegate problems`: all that is wrong, for as long as it is.

use std::{
    collections::BTreeSet,
    io::{Write, stdout},
};

use anyhow::Result;
use chrono::{DateTime, TimeDelta, Utc};
use tidegate_operator::problems::StandingProblem;

use crate::{
    admin::{ProblemsAnswer, ToldProblem},
    args::ProblemsArgs,
    exit::Exit,
    paint::{Colour, Paint},
    pods,
    table::{Cell, Table},
    tidegate::Tidegate,
};

pub(crate) async fn problems(args: ProblemsArgs) -> Result<()> {
    let tidegate = Tidegate::connect(&args.cluster, &args.pods.installed).await?;
    let namespace = crate::fleet::namespace(&args.scope, &tidegate);
    let query = namespace.as_ref().map(|namespace| format!("?namespace={namespace}")).unwrap_or_default();
    let path = format!("/problems{query}");
    let answer: ProblemsAnswer = match tidegate.cluster() {
        // Only the pod that leads knows all of them.
        Some(cluster) => merged(pods::ask_each(cluster, &args.pods, &path).await?),
        None => tidegate.json(&path).await?,
    };
    let mut out = stdout().lock();
    match args.output.format() {
        Some(format) => format.write(&answer, &mut out)?,
        None => print(&answer, namespace.as_deref(), Utc::now(), &mut out)?,
    }
    if answer.problems.is_empty() { Ok(()) } else { Err(Exit::Wrong.silently().into()) }
}

/// The answer of the pod that leads; while none does, that of all pods together.
fn merged(answers: Vec<ProblemsAnswer>) -> ProblemsAnswer {
    if let Some(complete) = answers.iter().find(|answer| answer.complete) {
        return complete.clone();
    }
    let mut seen = BTreeSet::new();
    let all = answers.into_iter().flat_map(|answer| answer.problems);
    let problems = all.filter(|told| seen.insert(told.problem.clone())).collect();
    ProblemsAnswer { complete: false, problems }
}

fn print(answer: &ProblemsAnswer, namespace: Option<&str>, now: DateTime<Utc>, out: &mut impl Write) -> Result<()> {
    if answer.problems.is_empty() {
        let place = namespace.map(|namespace| format!(" in namespace {namespace}")).unwrap_or_default();
        writeln!(out, "Nothing is wrong{place}.")?;
    } else {
        table(&answer.problems, namespace.is_none(), now).write(out, Paint::of_stdout())?;
    }
    if !answer.complete {
        writeln!(out, "\nNo pod of Tidegate leads, so this is only what signals and annotations show.")?;
    }
    Ok(())
}

fn table(problems: &[ToldProblem], all_namespaces: bool, now: DateTime<Utc>) -> Table {
    const COLUMNS: [&str; 5] = ["NAMESPACE", "NAME", "REASON", "SINCE", "MESSAGE"];
    let mut table = Table::new(COLUMNS.into_iter().skip(usize::from(!all_namespaces)));
    for ToldProblem { problem, .. } in problems {
        let StandingProblem { namespace, kind, name, reason, message, since } = problem;
        let mut cells: Vec<Cell> = Vec::new();
        cells.extend(all_namespaces.then(|| namespace.as_str().into()));
        cells.extend([
            format!("{}/{name}", kind.to_ascii_lowercase()).into(),
            Cell::from(reason.as_str()).painted_in(Colour::Red),
            since.map_or_else(|| "?".to_owned(), |since| age(now - since)).into(),
            message.as_str().into(),
        ]);
        table.row(cells);
    }
    table
}

/// An age as `kubectl` writes it: the largest unit alone.
fn age(age: TimeDelta) -> String {
    let seconds = age.num_seconds().max(0);
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7200 => format!("{}m", seconds / 60),
        7200..172_800 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: &str = "2026-03-02T12:00:00Z";

    fn answer(complete: bool, names: &[&str]) -> ProblemsAnswer {
        let problem = |name: &&str| StandingProblem {
            namespace: "shop".into(),
            kind: "Deployment".into(),
            name: (*name).into(),
            reason: "NoRoute".into(),
            message: "no route reaches it".into(),
            since: complete.then(|| "2026-03-02T09:00:00Z".parse().unwrap()),
        };
        ProblemsAnswer { complete, problems: names.iter().map(|name| problem(name).into()).collect() }
    }

    fn printed(answer: &ProblemsAnswer, namespace: Option<&str>) -> String {
        let mut out = Vec::new();
        print(answer, namespace, NOW.parse().unwrap(), &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn each_problem_is_a_line_with_its_age() {
        let expected = "\
NAMESPACE   NAME             REASON    SINCE   MESSAGE
shop        deployment/api   NoRoute   3h      no route reaches it
";
        assert_eq!(printed(&answer(true, &["api"]), None), expected);
        assert_eq!(printed(&answer(true, &[]), Some("shop")), "Nothing is wrong in namespace shop.\n");
    }

    #[test]
    fn the_pod_that_leads_knows_better_than_the_others() {
        let (leader, other) = (answer(true, &["api", "web"]), answer(false, &["api"]));
        assert_eq!(merged(vec![other.clone(), leader.clone()]), leader);
        let nobody = merged(vec![other.clone(), other.clone()]);
        assert_eq!(nobody, other, "what two pods see is one problem");
        assert!(printed(&nobody, None).contains("No pod of Tidegate leads"));
    }

    #[test]
    fn ages_are_as_kubectl_writes_them() {
        for (seconds, text) in [(-5, "0s"), (119, "119s"), (120, "2m"), (7200, "2h"), (200_000, "2d")] {
            assert_eq!(age(TimeDelta::seconds(seconds)), text);
        }
    }
}
