//! The chart's dashboards, on a real Prometheus that scrapes a Tidegate with something to show in each panel. Grafana itself is not
//! among the peers.

use std::{fs, path::Path};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tidegate_e2e::{
    cluster::Cluster,
    scenario::{Scenario, gateway, http, route, task_api, until},
};
use tidegate_stack::get;

const PROMETHEUS: &str = "http://prometheus.monitoring.svc:9090";
/// Longer than a pod takes to start on a busy machine.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(60);

/// A query of a dashboard, and the panel or variable that has it.
struct Query {
    of: String,
    expression: String,
}

/// The queries of a dashboard, with its variables as a user has chosen them.
fn queries(dashboard: &str, namespace: &str) -> Result<Vec<Query>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../charts/tidegate/dashboards");
    let json: Value = serde_json::from_str(&fs::read_to_string(folder.join(dashboard))?)?;
    let chosen = |expression: &str| {
        let variables = [("$__rate_interval", "1m"), ("$__range", "10m"), ("$namespace", namespace)];
        let workload = [("$kind", "Deployment"), ("$name", "task-api")];
        let all = variables.iter().chain(&workload);
        all.fold(expression.to_owned(), |text, (variable, value)| text.replace(variable, value))
    };
    let mut found = Vec::new();
    for panel in json["panels"].as_array().context("no panels")? {
        for target in panel["targets"].as_array().into_iter().flatten() {
            let expression = chosen(target["expr"].as_str().context("a target without a query")?);
            found.push(Query { of: format!("{dashboard}, {}", panel["title"]), expression });
        }
    }
    for variable in json["templating"]["list"].as_array().context("no variables")? {
        // label_values(METRIC, LABEL)
        let series = variable["definition"].as_str().and_then(|text| text.strip_prefix("label_values("));
        if let Some((series, _)) = series.and_then(|text| text.rsplit_once(',')) {
            found.push(Query { of: format!("{dashboard}, {}", variable["name"]), expression: chosen(series) });
        }
    }
    Ok(found)
}

impl Query {
    /// Fails unless Prometheus has a number for it.
    async fn has_an_answer(&self) -> Result<()> {
        let encoded: String = self.expression.bytes().map(|byte| format!("%{byte:02x}")).collect();
        let (_, body) = get(&format!("{PROMETHEUS}/api/v1/query?query={encoded}"), 10 * crate::SECOND).await?;
        let answer: Value = serde_json::from_str(&body).with_context(|| body.clone())?;
        ensure!(answer["status"] == "success", "{}: {}: {body}", self.of, self.expression);
        let rows = answer["data"]["result"].as_array().into_iter().flatten();
        let mut numbers = rows.filter(|row| row["value"][1] != "NaN");
        ensure!(numbers.next().is_some(), "{} is empty: {}", self.of, self.expression);
        Ok(())
    }
}

#[tokio::test]
async fn every_query_of_the_dashboards_has_an_answer() -> Result<()> {
    let _cluster = Cluster::shared_for_long().await?;
    let scenario = Scenario::new("dashboards").await?;
    // One that follows its load, one at zero, and one without a route, which is a problem; a lag and a query.
    let manifests = gateway(&[("http", "HTTP", 8080), ("quiet", "HTTP", 8081)])
        + &task_api("task-api", &[("requests-per-second", "10"), ("max-replicas", "4")])
        + &route("HTTPRoute", "tasks", "http", 8000, &[("task-api", 1)])
        + &task_api("sleeper", &[("concurrency", "4"), ("min-replicas", "0"), ("zero-after", "5s")])
        + &route("HTTPRoute", "sleepers", "quiet", 8000, &[("sleeper", 1)])
        + &task_api("lost", &[("requests-per-second", "10")])
        + &task_api("reader", &[("kafka-lag", "5"), ("kafka-group", "dashboards"), ("kafka-topics", "dashboards")])
        + &task_api("asker", &[("prometheus-query", "vector(7)"), ("prometheus-target", "5")]);
    scenario.apply(&manifests).await?;
    let entrance = scenario.gateway("web", 8080).await?;
    let _load = scenario.load(entrance, http()?, 25.0).await?;
    scenario.wait_for_replicas("sleeper", 0).await?;
    let sleepers = scenario.gateway("web", 8081).await?;
    let (status, _) = get(&format!("http://{sleepers}/tasks"), PATIENCE).await?;
    ensure!(status == 200, "{status}");
    for dashboard in ["fleet.json", "workload.json"] {
        for query in queries(dashboard, &scenario.namespace)? {
            until(&query.of, async || query.has_an_answer().await).await?;
        }
    }
    Ok(())
}
