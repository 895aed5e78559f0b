//! The chart's alerts and dashboards, against the table of metrics. Whether Prometheus reads them is for `charts/test.sh`, and whether a
//! query has an answer for `tests/e2e`; Grafana itself is not among the peers.
#![allow(missing_docs, reason = "tests say what they do in their names")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;
use tidegate_core::metric::{Metric, MetricKind};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn alerts() -> String {
    fs::read_to_string(root().join("charts/tidegate/alerts/rules.yaml")).unwrap()
}

/// Path and content of each dashboard.
fn dashboards() -> Vec<(String, Value)> {
    let folder = fs::read_dir(root().join("charts/tidegate/dashboards")).unwrap();
    let read = |path: PathBuf| {
        let json = serde_json::from_str(&fs::read_to_string(&path).unwrap());
        (path.display().to_string(), json.unwrap_or_else(|error| panic!("{}: {error}", path.display())))
    };
    let found: Vec<_> = folder.map(|entry| read(entry.unwrap().path())).collect();
    assert!(!found.is_empty());
    found
}

fn panels(dashboard: &Value) -> &[Value] {
    dashboard["panels"].as_array().map_or(&[], Vec::as_slice)
}

/// The queries of all panels and variables.
fn queries(dashboard: &Value) -> Vec<&str> {
    let targets = panels(dashboard).iter().filter_map(|panel| panel["targets"].as_array()).flatten();
    let variables = dashboard["templating"]["list"].as_array().into_iter().flatten();
    let of_variables = variables.filter_map(|variable| variable["definition"].as_str());
    targets.filter_map(|target| target["expr"].as_str()).chain(of_variables).collect()
}

/// All names of series that Tidegate serves.
fn served() -> BTreeSet<String> {
    let series = |metric: &Metric| match metric.kind() {
        MetricKind::Histogram => ["_bucket", "_sum", "_count"].map(|suffix| metric.name() + suffix).to_vec(),
        MetricKind::Counter | MetricKind::Gauge => vec![metric.name()],
    };
    Metric::ALL.iter().flat_map(series).collect()
}

/// The first word that looks like a metric of Tidegate, and is none.
fn unknown_metric(text: &str) -> Option<&str> {
    let served = served();
    let mut words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    words.find(|word| word.starts_with("tidegate_") && !served.contains(*word))
}

#[test]
fn every_metric_that_a_dashboard_or_an_alert_reads_is_served() {
    assert_eq!(unknown_metric(&alerts()), None, "in the alerts");
    for (path, dashboard) in dashboards() {
        for query in queries(&dashboard) {
            assert_eq!(unknown_metric(query), None, "{path}: {query}");
        }
    }
}

#[test]
fn every_alert_leads_to_a_heading_of_the_troubleshooting_page() {
    let page = fs::read_to_string(root().join("docs/troubleshooting.md")).unwrap();
    let titles = page.lines().filter_map(|line| line.strip_prefix("### "));
    let headings: BTreeSet<_> = titles.map(str::to_lowercase).collect();
    let alerts = alerts();
    let links: Vec<_> = alerts.lines().filter_map(|line| line.split_once("troubleshooting.md#")).collect();
    let names = alerts.lines().filter(|line| line.trim_start().starts_with("- alert: ")).count();
    assert_eq!(links.len(), names, "each alert has a runbook_url");
    for (_, anchor) in links {
        // Of the alert for all problems, the reason of the event is the heading.
        assert!(headings.contains(anchor) || anchor == "{{ $labels.reason | toLower }}", "{anchor}");
    }
}

#[test]
fn every_dashboard_has_what_grafana_asks_for() {
    let mut uids = BTreeSet::new();
    for (path, dashboard) in dashboards() {
        for key in ["uid", "title", "schemaVersion", "time", "templating", "panels"] {
            assert!(!dashboard[key].is_null(), "{path}: {key} is missing");
        }
        assert!(uids.insert(dashboard["uid"].to_string()), "{path}: another dashboard has its uid");
        assert_eq!(dashboard["templating"]["list"][0]["type"], "datasource", "{path}: the data source is chosen");
        let mut ids = BTreeSet::new();
        for panel in panels(&dashboard) {
            assert!(panel["title"].as_str().is_some_and(|title| !title.is_empty()), "{path}: a panel without a title");
            let title = format!("{path}, {}", panel["title"]);
            assert!(ids.insert(panel["id"].as_u64().unwrap()), "{title}: another panel has its id");
            if panel["type"] != "row" {
                assert_eq!(panel["datasource"]["uid"], "${datasource}", "{title}");
                assert!(panel["description"].as_str().is_some_and(|text| !text.is_empty()), "{title}: no description");
                let targets = panel["targets"].as_array().unwrap();
                let ids: BTreeSet<_> = targets.iter().map(|target| target["refId"].as_str().unwrap()).collect();
                assert!(!targets.is_empty() && ids.len() == targets.len(), "{title}: refIds");
            }
        }
    }
}

#[test]
fn no_panel_covers_another() {
    for (path, dashboard) in dashboards() {
        let mut taken = BTreeSet::new();
        for panel in panels(&dashboard) {
            let side = |key: &str| panel["gridPos"][key].as_u64().unwrap();
            assert!(side("x") + side("w") <= 24, "{path}: {} is wider than the page", panel["title"]);
            for x in side("x")..side("x") + side("w") {
                for y in side("y")..side("y") + side("h") {
                    assert!(taken.insert((x, y)), "{path}: {} covers another panel", panel["title"]);
                }
            }
        }
    }
}
