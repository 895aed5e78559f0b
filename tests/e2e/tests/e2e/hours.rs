//! Business hours, on a cluster with the real clock: hours that never come, and overrides that end within a minute.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tidegate_e2e::{
    cluster::Cluster,
    kubectl::{apply, get, kubectl},
    scenario::{Scenario, http, http_stack, task_api, until},
};

#[tokio::test]
async fn outside_hours_a_cap_holds_replicas_down_while_the_traffic_goes_on() -> Result<()> {
    let _cluster = Cluster::shared().await?;
    let scenario = Scenario::new("capped").await?;
    let annotations = [
        ("requests-per-second", "20"),
        ("scale-down-after", "5s"),
        ("hours", "off"),
        ("timezone", "Europe/Berlin"),
        ("off-hours-replicas", "2"),
    ];
    scenario.apply(&http_stack(&annotations)).await?;
    let entrance = scenario.gateway("web", 8080).await?;
    // Enough for 5 replicas.
    let _load = scenario.load(entrance, http()?, 90.0).await?;
    scenario.wait_for_replicas("task-api", 2).await?;
    scenario.stays("task-api", Duration::from_secs(15), |replicas| replicas == 2).await
}

#[tokio::test]
async fn a_workload_that_sleeps_at_zero_wakes_by_an_override_and_its_scaled_object_never_changes() -> Result<()> {
    let cluster = Cluster::shared_for_long().await?;
    let scenario = Scenario::new("asleep").await?;
    let annotations = [
        ("requests-per-second", "20"),
        ("min-replicas", "2"),
        ("scale-down-after", "5s"),
        ("hours", "off"),
        ("timezone", "UTC"),
    ];
    scenario.apply(&http_stack(&annotations)).await?;
    scenario.wait_for_replicas("task-api", 0).await?;
    let before = scenario.get(&["scaledobject", "task-api"]).await?;

    let told = cluster.tidegate(&["wake", "deployment/task-api", "--for", "25s", "-n", &scenario.namespace]).await?;
    ensure!(told.starts_with("deployment/task-api is awake until 20"), "{told}");
    scenario.wait_for_replicas("task-api", 2).await?;
    until("the override ends, and it sleeps again", async || {
        let replicas = scenario.replicas("task-api").await?;
        ensure!(replicas == 0, "{replicas} replicas");
        Ok(())
    })
    .await?;
    let after = scenario.get(&["scaledobject", "task-api"]).await?;
    ensure!(before["spec"] == after["spec"], "{before:#}\n{after:#}");
    ensure!(before["metadata"]["generation"] == after["metadata"]["generation"], "it was written");
    Ok(())
}

/// A whole namespace by two annotations, as in the README.
#[tokio::test]
async fn a_namespace_sleeps_and_wakes_to_what_its_workloads_had() -> Result<()> {
    let cluster = Cluster::shared().await?;
    let scenario = Scenario::new("staging").await?;
    let three = |name: &str| {
        task_api(name, &[]).replace("spec:\n  selector: {matchLabels", "spec:\n  replicas: 3\n  selector: {matchLabels")
    };
    scenario.apply(&(three("api") + &three("worker"))).await?;
    scenario.wait_for_replicas("worker", 3).await?;
    apply(&calendar("e2e-never", "off")).await?;
    let annotations = ["tidegate.dev/manage=all", "tidegate.dev/calendar=e2e-never"];
    kubectl(&["annotate", "namespace", &scenario.namespace, annotations[0], annotations[1]]).await?;
    scenario.wait_for_replicas("api", 0).await?;
    scenario.wait_for_replicas("worker", 0).await?;
    let explained = cluster.explain(&["deployment/api", "-n", &scenario.namespace]).await?;
    let words: Vec<_> = explained.split_whitespace().collect();
    let sentence = "Hours: closed, at most 0, for the years to come (off in Europe/Berlin, Calendar e2e-never).";
    ensure!(words.join(" ").contains(sentence), "{explained}");

    until("what was saved is counted", async || {
        let savings = cluster.tidegate(&["savings", "-o", "json"]).await?;
        let savings: Value = serde_json::from_str(&savings)?;
        let hours = savings[&scenario.namespace]["replicaHours"].as_f64().unwrap_or(0.0);
        ensure!(hours > 0.0, "{savings}");
        Ok(())
    })
    .await?;

    let target = format!("namespace/{}", scenario.namespace);
    cluster.tidegate(&["wake", &target, "--for", "1h"]).await?;
    scenario.wait_for_replicas("api", 3).await?;
    scenario.wait_for_replicas("worker", 3).await
}

/// A Deployment with three replicas in a namespace of its own, asleep by these hours.
async fn asleep(scenario: &Scenario, hours: &str) -> Result<()> {
    let three = "spec:\n  replicas: 3\n  selector: {matchLabels";
    scenario.apply(&task_api("api", &[]).replace("spec:\n  selector: {matchLabels", three)).await?;
    scenario.wait_for_replicas("api", 3).await?;
    sleeps(scenario, hours).await
}

async fn sleeps(scenario: &Scenario, hours: &str) -> Result<()> {
    let manage = ["tidegate.dev/manage=all", hours];
    kubectl(&["annotate", "namespace", &scenario.namespace, "--overwrite", manage[0], manage[1]]).await?;
    scenario.wait_for_replicas("api", 0).await
}

async fn adopted(scenario: &Scenario) -> Result<()> {
    until("it is known what it had", async || {
        let object = scenario.get(&["scaledobject", "api"]).await?;
        let adopted = &object["metadata"]["annotations"]["tidegate.dev/adopted-replicas"];
        ensure!(adopted == "3", "adopted is {adopted}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn annotations_that_are_taken_off_at_night_give_back_what_a_workload_had() -> Result<()> {
    let _cluster = Cluster::shared().await?;
    let scenario = Scenario::new("given-back").await?;
    apply(&calendar("e2e-given-back", "Mo-Su 03:00-03:01; PH off")).await?;
    asleep(&scenario, "tidegate.dev/calendar=e2e-given-back").await?;
    kubectl(&["annotate", "namespace", &scenario.namespace, "tidegate.dev/manage-", "tidegate.dev/calendar-"]).await?;
    scenario.wait_for_replicas("api", 3).await?;
    until("its ScaledObject is gone", async || {
        let left = scenario.get(&["scaledobjects"]).await?;
        ensure!(left["items"].as_array().is_some_and(Vec::is_empty), "{left}");
        Ok(())
    })
    .await?;
    scenario.event("Deployment", "api", "GivesBack").await?;
    // The number is the same the next night.
    sleeps(&scenario, "tidegate.dev/calendar=e2e-given-back").await?;
    adopted(&scenario).await
}

#[tokio::test]
async fn a_scaled_object_that_is_deleted_at_night_takes_no_number_with_it() -> Result<()> {
    let _cluster = Cluster::shared().await?;
    let scenario = Scenario::new("deleted").await?;
    apply(&calendar("e2e-deleted", "off")).await?;
    asleep(&scenario, "tidegate.dev/calendar=e2e-deleted").await?;
    scenario.kubectl(&["delete", "scaledobject", "api"]).await?;
    adopted(&scenario).await?;
    scenario.wait_for_replicas("api", 0).await?;
    apply(&calendar("e2e-deleted", "24/7")).await?;
    scenario.wait_for_replicas("api", 3).await
}

#[tokio::test]
async fn a_typo_in_a_calendar_at_night_wakes_nobody_and_one_by_day_changes_nothing() -> Result<()> {
    let _cluster = Cluster::shared().await?;
    let scenario = Scenario::new("typo").await?;
    apply(&calendar("e2e-typo", "off")).await?;
    asleep(&scenario, "tidegate.dev/calendar=e2e-typo").await?;
    apply(&calendar("e2e-typo", "Mon-Fri 0800")).await?;
    // A fallback would start after three errors, one every 2 s.
    scenario.stays("api", Duration::from_secs(15), |replicas| replicas == 0).await?;
    apply(&calendar("e2e-typo", "24/7")).await?;
    scenario.wait_for_replicas("api", 3).await?;
    apply(&calendar("e2e-typo", "Mon-Fri 0800")).await?;
    scenario.stays("api", Duration::from_secs(20), |replicas| replicas == 3).await
}

/// All kinds that hours switch, each with its state by day.
const FIVE_KINDS: &str = "---
apiVersion: apps/v1
kind: Deployment
metadata: {name: api}
spec: {replicas: 3, selector: {matchLabels: {app: api}}, template: {metadata: {labels: {app: api}}, spec: {containers: [{name: c, image: fake}]}}}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db}
spec: {replicas: 2, serviceName: db, selector: {matchLabels: {app: db}}, template: {metadata: {labels: {app: db}}, spec: {containers: [{name: c, image: fake}]}}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: theirs}
spec: {replicas: 4, selector: {matchLabels: {app: theirs}}, template: {metadata: {labels: {app: theirs}}, spec: {containers: [{name: c, image: fake}]}}}
---
apiVersion: keda.sh/v1alpha1
kind: ScaledObject
metadata: {name: their-own, annotations: {team: theirs}}
spec:
  scaleTargetRef: {name: theirs}
  minReplicaCount: 1
  maxReplicaCount: 4
  triggers:
    - {type: cron, metadata: {timezone: UTC, start: 0 0 * * *, end: 59 23 * * *, desiredReplicas: '4'}}
---
apiVersion: batch/v1
kind: CronJob
metadata: {name: report}
spec: {schedule: 0 0 1 1 *, jobTemplate: {spec: {template: {spec: {restartPolicy: Never, containers: [{name: c, image: fake}]}}}}}
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: agent}
spec: {selector: {matchLabels: {app: agent}}, template: {metadata: {labels: {app: agent}}, spec: {containers: [{name: c, image: fake}]}}}
";

/// Current state of the five kinds: replicas of three, whether the CronJob may run, and the number of nodes of the DaemonSet.
async fn five_kinds(scenario: &Scenario) -> Result<(u64, u64, u64, bool, u64)> {
    let db = scenario.get(&["statefulset", "db"]).await?["spec"]["replicas"].as_u64().context("no replicas")?;
    let runs = scenario.get(&["cronjob", "report"]).await?["spec"]["suspend"] == false;
    let nodes = scenario.get(&["daemonset", "agent"]).await?["status"]["desiredNumberScheduled"].as_u64();
    Ok((scenario.replicas("api").await?, db, scenario.replicas("theirs").await?, runs, nodes.unwrap_or(0)))
}

#[tokio::test]
async fn after_a_night_in_which_much_goes_wrong_every_kind_has_what_it_had() -> Result<()> {
    let _cluster = Cluster::at_the_end().await?.alone().await;
    let scenario = Scenario::new("night").await?;
    let (by_day, at_night) = ((3, 2, 4, true, 1), (0, 0, 0, false, 0));
    let are = async |wanted| {
        until("all kinds are as they should be", async || {
            let all = five_kinds(&scenario).await?;
            ensure!(all == wanted, "{all:?}, not {wanted:?}");
            Ok(())
        })
        .await
    };
    scenario.apply(FIVE_KINDS).await?;
    are(by_day).await?;
    let specs = async || {
        let scaled = scenario.get(&["scaledobject", "their-own"]).await?;
        let set = scenario.get(&["daemonset", "agent"]).await?;
        Ok::<_, anyhow::Error>((scaled["spec"].clone(), scaled["metadata"]["annotations"].clone(), set["spec"].clone()))
    };
    let before = specs().await?;
    // Instead of the clock, the hours are changed.
    apply(&calendar("e2e-night", "24/7")).await?;
    let manage = "tidegate.dev/manage=all,cronjobs,daemonsets";
    let hours = ["tidegate.dev/calendar=e2e-night", "tidegate.dev/scale-down-after=5s"];
    kubectl(&["annotate", "namespace", &scenario.namespace, manage, hours[0], hours[1]]).await?;
    adopted(&scenario).await?;
    scenario.event("CronJob", "report", "Awake").await?;
    are(by_day).await?;

    apply(&calendar("e2e-night", "off")).await?;
    are(at_night).await?;
    scenario.event("ScaledObject", "their-own", "Asleep").await?;
    scenario.kubectl(&["delete", "scaledobject", "api"]).await?;
    adopted(&scenario).await?;
    apply(&calendar("e2e-night", "Mon-Fri 0800")).await?;
    scenario.kubectl(&["annotate", "statefulset", "db", "tidegate.dev/max-replicas=many"]).await?;
    scenario.event("StatefulSet", "db", "InvalidAnnotations").await?;
    let pods = ["-n", "tidegate-system", "deployment/tidegate"];
    kubectl(&[&["scale", "--replicas=0"][..], &pods].concat()).await?;
    // A fallback would start one replica after three errors, one every 2 s.
    let mut looks = tokio::time::interval(Duration::from_secs(1));
    for _ in 0..15 {
        looks.tick().await;
        let all = five_kinds(&scenario).await?;
        ensure!(all == at_night, "{all:?}");
    }
    kubectl(&[&["scale", "--replicas=2"][..], &pods].concat()).await?;
    kubectl(&[&["rollout", "status"][..], &pods].concat()).await?;

    apply(&calendar("e2e-night", "24/7")).await?;
    // This includes the StatefulSet, whose annotations are still invalid.
    are(by_day).await?;
    ensure!(specs().await? == before, "something of the night is left");
    scenario.kubectl(&["annotate", "statefulset", "db", "tidegate.dev/max-replicas-"]).await?;
    apply(&calendar("e2e-night", "off")).await?;
    are(at_night).await?;
    kubectl(&["annotate", "namespace", &scenario.namespace, "tidegate.dev/manage-", "tidegate.dev/calendar-"]).await?;
    are(by_day).await?;
    ensure!(specs().await? == before, "something of the night is left");
    Ok(())
}

#[tokio::test]
async fn a_number_that_is_set_inside_hours_stays_and_is_the_one_to_come_back_to() -> Result<()> {
    let _cluster = Cluster::shared().await?;
    let scenario = Scenario::new("by-day").await?;
    let hours = [("hours", "24/7"), ("timezone", "UTC")];
    let with = |replicas: u32| {
        let spec = format!("spec:\n  replicas: {replicas}\n  selector: {{matchLabels");
        task_api("api", &hours).replace("spec:\n  selector: {matchLabels", &spec)
    };
    scenario.apply(&with(3)).await?;
    adopted(&scenario).await?;
    scenario.apply(&with(5)).await?;
    scenario.event("Deployment", "api", "Adopted").await?;
    // A look of the HPA that began before Tidegate saw the 5 may still end in a 3: every look after it must want 5.
    until("the HPA wants the new number", async || {
        let hpa = scenario.get(&["hpa", "keda-hpa-api"]).await?;
        ensure!(hpa["status"]["desiredReplicas"] == 5, "{}", hpa["status"]);
        Ok(())
    })
    .await?;
    scenario.wait_for_replicas("api", 5).await?;
    scenario.stays("api", Duration::from_secs(20), |replicas| replicas == 5).await
}

#[tokio::test]
async fn a_calendar_shows_whether_it_is_open_who_uses_it_and_what_is_wrong_with_it() -> Result<()> {
    let cluster = Cluster::shared().await?;
    let scenario = Scenario::new("calendar").await?;
    apply(&calendar("e2e-always", "Mo-Su 00:00-24:00")).await?;
    scenario.apply(&task_api("api", &[("calendar", "e2e-always")])).await?;
    let status = async || Ok::<_, anyhow::Error>(get(&["calendar", "e2e-always"]).await?["status"].clone());
    until("the Calendar is open and used by one", async || {
        let status = status().await?;
        ensure!(status["open"] == true && status["users"] == 1, "{status}");
        ensure!(status["conditions"][0]["reason"] == "Resolved", "{status}");
        Ok(())
    })
    .await?;
    let shown = kubectl(&["get", "calendars", "e2e-always"]).await?;
    let columns: Vec<_> =
        shown.lines().next().context("no table")?.split("  ").filter(|word| !word.is_empty()).collect();
    let week = cluster.tidegate(&["calendar", "show", "e2e-always"]).await?;
    ensure!(week.starts_with("Mo-Su 00:00-24:00 in Europe/Berlin\nopen at "), "{week}");
    let columns: Vec<_> = columns.iter().map(|column| column.trim()).collect();
    ensure!(columns == ["NAME", "HOURS", "TIMEZONE", "OPEN", "NEXT CHANGE", "USERS", "AGE"], "{shown}");

    apply(&calendar("e2e-always", "off")).await?;
    until("it is closed, and an event tells", async || {
        ensure!(status().await?["open"] == false, "{}", status().await?);
        let about = "involvedObject.kind=Calendar,involvedObject.name=e2e-always";
        let events = get(&["events", "-n", "default", "--field-selector", about]).await?;
        let reasons: Vec<_> = events["items"].as_array().into_iter().flatten().map(|event| &event["reason"]).collect();
        ensure!(reasons.iter().any(|reason| *reason == "Opened"), "{reasons:?}");
        ensure!(reasons.iter().any(|reason| *reason == "Closed"), "{reasons:?}");
        Ok(())
    })
    .await?;
    apply(&calendar("e2e-always", "always")).await?;
    until("what is wrong is said on the Calendar, and the hours that it had count", async || {
        let status = status().await?;
        ensure!(status["conditions"][0]["status"] == "False" && status["open"] == false, "{status}");
        ensure!(
            status["conditions"][0]["message"].as_str().is_some_and(|text| text.contains("spec.hours")),
            "{status}"
        );
        Ok(())
    })
    .await?;
    kubectl(&["delete", "calendar", "e2e-always"]).await?;
    let message = scenario.event("Deployment", "api", "InvalidAnnotations").await?;
    ensure!(message.contains("there is no Calendar e2e-always"), "{message}");

    let backwards = calendar("e2e-backwards", "24/7")
        + "  overrides: [{from: \"2026-12-27T10:00:00Z\", until: \"2026-12-26T10:00:00Z\", state: Open}]\n";
    let refused = apply(&backwards).await.err().context("it was accepted")?.to_string();
    ensure!(refused.contains("until must be after from"), "{refused}");
    Ok(())
}

fn calendar(name: &str, hours: &str) -> String {
    format!(
        "apiVersion: tidegate.dev/v1alpha1
kind: Calendar
metadata: {{name: {name}}}
spec:
  timeZone: Europe/Berlin
  hours: {hours:?}
"
    )
}
