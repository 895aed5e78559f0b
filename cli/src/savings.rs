//! `tidegate savings`: the savings of nights and week-ends.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    io::{Write, stdout},
};

use anyhow::{Context, Result, anyhow, bail};
use serde::Serialize;
use tidegate_scaler::{savings::Saved, sources::prometheus::Prometheus};

use crate::{args::SavingsArgs, cluster::Cluster, crypto::install_crypto, pods, tidegate::Tidegate};

const HOUR: f64 = 3600.0;
const GIB: f64 = (1u64 << 30) as f64;

pub(crate) async fn savings(args: SavingsArgs) -> Result<()> {
    let (saved, since) = match &args.prometheus.prometheus_url {
        Some(url) => (of_prometheus(url, &args).await?, format!("in the last {}", args.range)),
        None => (of_pods(&args).await?, "since the pods of Tidegate started".to_owned()),
    };
    let price = args.price_per_core_hour.zip(args.price_per_gib_hour);
    let rows: BTreeMap<_, _> =
        saved.into_iter().map(|(namespace, saved)| (namespace, Row::new(saved, price))).collect();
    let mut out = stdout().lock();
    match args.output.format() {
        Some(format) => format.write(&rows, &mut out),
        None => Ok(write!(out, "{}", table(&rows, &since)?)?),
    }
}

/// The savings of one namespace.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    replica_hours: f64,
    cpu_core_hours: f64,
    memory_gib_hours: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    money: Option<f64>,
}

impl Row {
    fn new(saved: Saved, price: Option<(f64, f64)>) -> Self {
        let cores = saved.cpu_core_seconds / HOUR;
        let gib = saved.memory_byte_seconds / GIB / HOUR;
        let money = price.map(|(core, memory)| cores * core + gib * memory);
        Self { replica_hours: saved.replica_seconds / HOUR, cpu_core_hours: cores, memory_gib_hours: gib, money }
    }

    fn plus(self, other: &Self) -> Self {
        Self {
            replica_hours: self.replica_hours + other.replica_hours,
            cpu_core_hours: self.cpu_core_hours + other.cpu_core_hours,
            memory_gib_hours: self.memory_gib_hours + other.memory_gib_hours,
            money: self.money.zip(other.money).map(|(a, b)| a + b).or(other.money),
        }
    }
}

fn table(rows: &BTreeMap<String, Row>, since: &str) -> Result<String> {
    if rows.is_empty() {
        return Ok(format!("Nothing was saved {since}: no workload was outside its hours or at zero.\n"));
    }
    let mut text = format!("Saved by schedules and scale-to-zero {since}\n\n");
    let money = rows.values().any(|row| row.money.is_some());
    let total = rows.values().fold(Row::default(), Row::plus);
    let last = if money { format!(" {:>12}", "MONEY") } else { String::new() };
    writeln!(text, "{:<30} {:>14} {:>12} {:>12}{last}", "NAMESPACE", "REPLICA-HOURS", "CORE-HOURS", "GIB-HOURS")?;
    for (name, row) in rows.iter().map(|(name, row)| (name.as_str(), row)).chain([("total", &total)]) {
        let last = row.money.map(|money| format!(" {money:>12.2}")).unwrap_or_default();
        let Row { replica_hours, cpu_core_hours, memory_gib_hours, .. } = row;
        writeln!(text, "{name:<30} {replica_hours:>14.2} {cpu_core_hours:>12.2} {memory_gib_hours:>12.2}{last}")?;
    }
    if total.cpu_core_hours == 0.0 && total.memory_gib_hours == 0.0 {
        text.push_str("\nThe containers request no CPU or memory, so nothing was reserved for those replicas.\n");
    }
    Ok(text)
}

async fn of_prometheus(url: &str, args: &SavingsArgs) -> Result<BTreeMap<String, Saved>> {
    if !args.range.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        bail!("--range {}: wants a time as PromQL writes it, such as 30d", args.range);
    }
    install_crypto();
    let prometheus = Prometheus::new(args.prometheus.settings(url)?).context("--prometheus-…")?;
    let increase = async |what: &str| {
        let query = format!(
            "sum by (namespace_saved) (label_replace(increase(tidegate_saved_{what}_seconds_total[{}]), \
             \"namespace_saved\", \"$1\", \"{}\", \"(.+)\"))",
            args.range, args.namespace_label
        );
        prometheus.by_label(&query, "namespace_saved").await.map_err(|error| anyhow!("{url}: {error}"))
    };
    let mut saved = BTreeMap::<String, Saved>::new();
    for (namespace, value) in increase("replica").await? {
        saved.entry(namespace).or_default().replica_seconds = value;
    }
    for (namespace, value) in increase("cpu_core").await? {
        saved.entry(namespace).or_default().cpu_core_seconds = value;
    }
    for (namespace, value) in increase("memory_byte").await? {
        saved.entry(namespace).or_default().memory_byte_seconds = value;
    }
    Ok(saved)
}

/// The sum over all pods, because each counts only while it leads.
async fn of_pods(args: &SavingsArgs) -> Result<BTreeMap<String, Saved>> {
    if args.pods.installed.admin.is_some() {
        return Ok(Tidegate::connect(&args.cluster, &args.pods.installed).await?.json("/savings").await?);
    }
    let cluster = Cluster::connect(&args.cluster).await?;
    let of_pods: Vec<BTreeMap<String, Saved>> = pods::ask_each(&cluster, &args.pods, "/savings").await?;
    let mut sum = BTreeMap::<String, Saved>::new();
    for (namespace, saved) in of_pods.into_iter().flatten() {
        let row = sum.entry(namespace).or_default();
        row.replica_seconds += saved.replica_seconds;
        row.cpu_core_seconds += saved.cpu_core_seconds;
        row.memory_byte_seconds += saved.memory_byte_seconds;
    }
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_become_hours_and_money() {
        let saved = Saved { replica_seconds: 7200.0, cpu_core_seconds: 3600.0, memory_byte_seconds: 2.0 * GIB * HOUR };
        let row = Row::new(saved, Some((0.04, 0.005)));
        assert_eq!((row.replica_hours, row.cpu_core_hours, row.memory_gib_hours), (2.0, 1.0, 2.0));
        assert!((row.money.unwrap() - 0.05).abs() < 1e-9);
        let table = table(&BTreeMap::from([("shop".to_owned(), row)]), "in the last 30d").unwrap();
        assert!(
            table.contains("shop                                     2.00         1.00         2.00         0.05"),
            "{table}"
        );
    }

    #[test]
    fn nothing_saved_says_so() {
        assert!(table(&BTreeMap::new(), "in the last 30d").unwrap().starts_with("Nothing was saved in the last 30d"));
    }
}
