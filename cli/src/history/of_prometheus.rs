//! The history as a Prometheus kept it: step by step, from the metrics that Tidegate publishes about each workload.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context, Result, anyhow};
use chrono::{DateTime, Utc};
use tidegate_core::{plan::Replicas, signal::Signal, workload::WorkloadId};
use tidegate_scaler::{
    history::{Cause, Change, Decisive, HistoryAnswer, ToldChange, Why},
    sources::prometheus::Prometheus,
};

use crate::args::HistoryArgs;

/// Most steps of one answer.
const STEPS: u64 = 8000;
/// Shortest step: Tidegate is scraped no more often than this as a rule.
const SHORTEST: Duration = Duration::from_secs(15);

/// The values of one series by second.
type Values = BTreeMap<i64, f64>;

pub(super) fn connect(args: &HistoryArgs, url: &str) -> Result<Prometheus> {
    Prometheus::new(args.prometheus.settings(url)?).context("--prometheus-…")
}

pub(super) async fn history(prometheus: &Prometheus, args: &HistoryArgs, id: &WorkloadId) -> Result<HistoryAnswer> {
    let step = (args.since.as_secs() / STEPS).max(SHORTEST.as_secs());
    let (label, WorkloadId { namespace, kind, name }) = (&args.namespace_label, id);
    let of = format!("{{{label}=\"{namespace}\",kind=\"{kind}\",name=\"{name}\"}}");
    let range = format!("[{}s:{step}s]", args.since.as_secs());
    // All pods of Tidegate give the same values.
    let series = async |metric: &str, by: &str| {
        let query = format!("max by ({by}) (tidegate_workload_{metric}{of}){range}");
        prometheus.series(&query, by).await.map_err(|error| anyhow!("{}: {error}", prometheus.name()))
    };
    let wanted = series("desired_replicas", "name").await?.into_values().next().unwrap_or_default();
    let (demand, targets) = (series("demand", "signal").await?, series("target", "signal").await?);
    Ok(steps(id, &wanted, &demand, &targets))
}

/// The steps at which the number changes. A gap in the data is a time in which it was not known.
fn steps(
    id: &WorkloadId,
    wanted: &Values,
    demand: &BTreeMap<String, Values>,
    targets: &BTreeMap<String, Values>,
) -> HistoryAnswer {
    let mut changes: Vec<ToldChange> = Vec::new();
    let instants =
        wanted.keys().chain(demand.values().flat_map(BTreeMap::keys)).chain(targets.values().flat_map(BTreeMap::keys));
    let instants: std::collections::BTreeSet<_> = instants.collect();
    let mut before: Option<Option<u32>> = None;
    for at in instants {
        let to = wanted.get(at).map(|wanted| *wanted as u32);
        if before == Some(to) {
            continue;
        }
        let why = Why { decisive: decisive(*at, demand, targets), ..Why::default() };
        let unknown = "Prometheus has no number: a signal was unknown, or Tidegate did not run".to_owned();
        let why = if to.is_some() { why } else { Why { unknown: Some(unknown), ..Why::default() } };
        let cause = match before {
            None => Cause::Start,
            Some(before) if before.is_none() || to.is_none() => Cause::Signals,
            Some(_) => Cause::Demand,
        };
        let at = DateTime::<Utc>::from_timestamp(*at, 0).unwrap_or_default();
        let from = before.flatten();
        let change = Change { at, from, to, cause, detail: None, why, replicas: Replicas::default() };
        changes.push(change.into());
        before = Some(to);
    }
    HistoryAnswer { workload: id.clone(), remembered_since: changes.first().map(|told| told.change.at), changes }
}

/// The signal with the largest need at an instant.
fn decisive(at: i64, demand: &BTreeMap<String, Values>, targets: &BTreeMap<String, Values>) -> Option<Decisive> {
    let of = |(name, values): (&String, &Values)| {
        let signal: Signal = name.parse().ok()?;
        let (demand, target) = (*values.get(&at)?, *targets.get(name)?.get(&at)?);
        let needs = (demand / target).ceil().max(0.0) as u32;
        (needs > 0).then_some(Decisive { signal, demand: demand as f32, per_replica: target as f32, needs })
    };
    demand.iter().filter_map(of).max_by_key(|decisive| decisive.needs)
}

#[cfg(test)]
mod tests {
    use tidegate_core::workload::WorkloadKind;

    use super::*;

    fn values(values: &[(i64, f64)]) -> Values {
        values.iter().copied().collect()
    }

    #[test]
    fn each_step_of_the_number_is_a_change_with_the_signal_that_needed_most() {
        let id = WorkloadId { namespace: "shop".into(), kind: WorkloadKind::Deployment, name: "api".into() };
        let (rps, concurrency) = ("requests-per-second".to_owned(), "concurrency".to_owned());
        let wanted = values(&[(0, 2.0), (60, 2.0), (120, 5.0), (240, 5.0)]);
        let demand = BTreeMap::from([
            (rps.clone(), values(&[(0, 150.0), (60, 180.0), (120, 420.0), (180, 430.0), (240, 440.0)])),
            (concurrency.clone(), values(&[(0, 5.0), (120, 39.0)])),
        ]);
        let all = [0, 60, 120, 180, 240];
        let constant = |value: f64| all.iter().map(|at| (*at, value)).collect::<Values>();
        let targets = BTreeMap::from([(rps, constant(100.0)), (concurrency, constant(8.0))]);
        let answer = steps(&id, &wanted, &demand, &targets);
        let told: Vec<_> =
            answer.changes.iter().map(|told| (told.change.from, told.change.to, told.sentence.as_str())).collect();
        let unknown = "not known: Prometheus has no number: a signal was unknown, or Tidegate did not run";
        assert_eq!(told[0], (None, Some(2), "150.0 requests/s ÷ 100 per replica"));
        assert_eq!(told[1].0, Some(2));
        assert!(
            ["420.0 requests/s ÷ 100 per replica", "39.0 requests in flight ÷ 8 per replica"].contains(&told[1].2),
            "{told:?}"
        );
        assert_eq!(told[2..], [(Some(5), None, unknown), (None, Some(5), "440.0 requests/s ÷ 100 per replica")]);
    }
}
