//! `tidegate history`: why a workload scaled yesterday.

mod of_prometheus;

use std::io::{Write, stdout};

use anyhow::Result;
use chrono::SecondsFormat;
use tidegate_core::workload::WorkloadId;
use tidegate_scaler::history::{Change, HistoryAnswer, ToldChange};

use crate::{
    args::HistoryArgs,
    exit::{Exit, Failure},
    object::{ObjectKind, ObjectRef, named},
    paint::{Colour, Paint},
    table::{Cell, Table},
    tidegate::Tidegate,
};

pub(crate) async fn history(args: HistoryArgs) -> Result<()> {
    let objects = named(&args.objects)?;
    let mut answers = Vec::new();
    if let Some(url) = &args.prometheus.prometheus_url {
        let namespace = namespace(&args).await?;
        let prometheus = of_prometheus::connect(&args, url)?;
        for object in &objects {
            let id = workload(object)?.within(&namespace);
            answers.push(of_prometheus::history(&prometheus, &args, &id).await?);
        }
    } else {
        let tidegate = Tidegate::connect(&args.cluster, &args.installed).await?;
        let namespace = args.within.namespace.as_deref().unwrap_or_else(|| tidegate.namespace());
        for object in &objects {
            workload_kind(object)?;
            let ObjectRef { kind, name } = object;
            let path = format!("/history/{namespace}/{kind}/{name}?since={}s", args.since.as_secs());
            answers.push(tidegate.json(&path).await?);
        }
    }
    let mut out = stdout().lock();
    match (args.output.format(), &answers[..]) {
        (Some(format), [one]) => format.write(one, &mut out),
        (Some(format), all) => format.write(&all, &mut out),
        (None, all) => all.iter().enumerate().try_for_each(|(index, answer)| {
            if all.len() > 1 {
                writeln!(out, "{}{}\n", if index > 0 { "\n" } else { "" }, answer.workload)?;
            }
            print(answer, &args, &mut out)
        }),
    }
}

/// The namespace of the objects where Tidegate itself is not asked.
async fn namespace(args: &HistoryArgs) -> Result<String> {
    match &args.within.namespace {
        Some(namespace) => Ok(namespace.clone()),
        None => Ok(Tidegate::connect(&args.cluster, &args.installed).await?.namespace().to_owned()),
    }
}

fn workload_kind(object: &ObjectRef) -> Result<(), Failure> {
    match object.kind {
        ObjectKind::Workload(_) | ObjectKind::Custom(_) => Ok(()),
        ObjectKind::Gateway | ObjectKind::Namespace => Err(Exit::Usage.with(format!(
            "{object}: only workloads have a history; `tidegate explain {object}` says what is wanted now"
        ))),
    }
}

fn workload(object: &ObjectRef) -> Result<tidegate_core::workload::WorkloadRef, Failure> {
    workload_kind(object)?;
    match object.kind {
        ObjectKind::Workload(kind) => Ok(tidegate_core::workload::WorkloadRef { kind, name: object.name.clone() }),
        _ => Err(Exit::Usage.with(format!("{object}: a custom kind has no history in Prometheus by this name"))),
    }
}

fn print(answer: &HistoryAnswer, args: &HistoryArgs, out: &mut impl Write) -> Result<()> {
    if answer.changes.is_empty() {
        return Ok(writeln!(out, "{}", nothing(answer, &humantime::format_duration(args.since).to_string()))?);
    }
    Ok(table(&answer.changes).write(out, Paint::of_stdout())?)
}

/// What an empty list means.
fn nothing(answer: &HistoryAnswer, since: &str) -> String {
    let HistoryAnswer { workload: WorkloadId { namespace, kind, name }, remembered_since, .. } = answer;
    let object = format!("{}/{name} in namespace {namespace}", kind.kubectl_name());
    match remembered_since {
        Some(at) => {
            let at = at.to_rfc3339_opts(SecondsFormat::Secs, true);
            format!("Nothing of {object} changed within {since}; the oldest change that is remembered is of {at}.")
        }
        None => {
            format!("Nothing is remembered of {object} yet: the first entry comes within a minute of the first look.")
        }
    }
}

fn table(changes: &[ToldChange]) -> Table {
    let mut table = Table::new(["TIME", "WANTED", "READY", "WHO", "WHY"]);
    for ToldChange { change, sentence, who } in changes {
        let Change { at, from, to, replicas, .. } = change;
        let number = |wanted: Option<u32>| wanted.map_or_else(|| "?".to_owned(), |wanted| wanted.to_string());
        let (wanted, changes) = match (from, to) {
            (from, to) if from == to => (number(*to), None),
            (Some(from), Some(to)) => (format!("{from} → {to}"), Some(Colour::Bold)),
            (from, to) => (format!("{} → {}", number(*from), number(*to)), Some(Colour::Yellow)),
        };
        let wanted = Cell::from(wanted);
        table.row([
            at.to_rfc3339_opts(SecondsFormat::Secs, true).into(),
            changes.map_or(wanted.clone(), |colour| wanted.painted_in(colour)),
            format!("{}/{}", replicas.ready, replicas.wanted).into(),
            who.as_str().into(),
            sentence.as_str().into(),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::paint::When;

    fn answer() -> HistoryAnswer {
        let change = |at: &str, from: Option<u32>, to: Option<u32>, who: &str, sentence: &str| {
            json!({"at": at, "from": from, "to": to, "cause": "demand", "detail": null, "replicas": {"wanted": 6, "ready": 5},
                "why": {"decisive": null, "limit": null, "phase": null, "held": false, "holdsRequests": false,
                    "lastKnown": false, "unknown": null}, "sentence": sentence, "who": who})
        };
        let changes = [
            change("2026-03-02T12:00:00Z", Some(6), Some(7), "demand", "642.0 requests/s ÷ 100 per replica"),
            change("2026-03-02T12:10:15Z", Some(7), None, "signals", "not known: no proxy answers"),
            change(
                "2026-03-02T12:11:00Z",
                None,
                None,
                "annotations: max-replicas 10 → 20",
                "not known: no proxy answers",
            ),
        ];
        let workload = json!({"namespace": "shop", "kind": "Deployment", "name": "api"});
        serde_json::from_value(
            json!({"workload": workload, "rememberedSince": "2026-03-01T00:00:00Z", "changes": changes}),
        )
        .unwrap()
    }

    #[test]
    fn the_table_has_a_line_for_each_change() {
        let mut out = Vec::new();
        table(&answer().changes).write(&mut out, Paint::new(When::Never, false)).unwrap();
        let expected = "\
TIME                   WANTED   READY   WHO                                 WHY
2026-03-02T12:00:00Z   6 → 7    5/6     demand                              642.0 requests/s ÷ 100 per replica
2026-03-02T12:10:15Z   7 → ?    5/6     signals                             not known: no proxy answers
2026-03-02T12:11:00Z   ?        5/6     annotations: max-replicas 10 → 20   not known: no proxy answers
";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn an_empty_list_says_how_far_the_memory_goes() {
        let calm = HistoryAnswer { changes: Vec::new(), ..answer() };
        assert!(
            nothing(&calm, "1day")
                .contains("changed within 1day; the oldest change that is remembered is of 2026-03-01")
        );
        let unknown = HistoryAnswer { remembered_since: None, ..calm };
        assert!(nothing(&unknown, "1day").contains("within a minute"));
    }
}
