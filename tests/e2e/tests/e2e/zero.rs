//! Workloads that go to zero, and are woken by requests, which are held meanwhile.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tidegate_e2e::{
    cluster::Cluster,
    examples::example,
    scenario::{Scenario, gateway, http, http_stack, route, stateful, task_api, until},
};
use tidegate_sim::load::{Load, LoadLimits, LoadSpec, Profile};
use tidegate_stack::get;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

/// Longer than a pod takes to start on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
const OURS: &str = "endpointslice.kubernetes.io/managed-by=tidegate.dev";

fn patient() -> LoadLimits {
    LoadLimits { timeout: PATIENCE, ..LoadLimits::default() }
}

/// Waits until nobody is there, and requests are led to the activator.
async fn asleep(scenario: &Scenario) -> Result<()> {
    asleep_of(scenario, "deployment/task-api").await
}

async fn asleep_of(scenario: &Scenario, workload: &str) -> Result<()> {
    scenario.wait_for_replicas(workload, 0).await?;
    until("no pod is left", async || {
        let pods = scenario.get(&["pods", "-l", "app=task-api"]).await?;
        ensure!(pods["items"].as_array().is_some_and(Vec::is_empty), "there are pods yet");
        ensure!(!led(scenario).await?.is_empty(), "no EndpointSlice leads to the activator");
        Ok(())
    })
    .await
}

/// Our EndpointSlices whose endpoints get traffic.
async fn led(scenario: &Scenario) -> Result<Vec<Value>> {
    let slices = scenario.get(&["endpointslices", "-l", OURS]).await?;
    let ready = |slice: &&Value| slice["endpoints"][0]["conditions"]["ready"] == true;
    Ok(slices["items"].as_array().into_iter().flatten().filter(ready).cloned().collect())
}

async fn sleeper(name: &str, annotations: &[(&str, &str)]) -> Result<Scenario> {
    let scenario = Scenario::new(name).await?;
    scenario.apply(&sleeping_stack(annotations)).await?;
    Ok(scenario)
}

fn sleeping_stack(annotations: &[(&str, &str)]) -> String {
    let all = [&[("min-replicas", "0"), ("max-replicas", "8"), ("zero-after", "5s")][..], annotations].concat();
    http_stack(&all)
}

/// How many of these requests at one time were answered 200, and the longest time of them.
async fn burst_of(scenario: &Scenario, requests: u32) -> Result<u64> {
    let to = scenario.gateway("web", 8080).await?;
    let at_once = Profile::starting_at(f64::from(requests)).hold(Duration::from_secs(1));
    let spec = LoadSpec { limits: patient(), ..LoadSpec::new(http()?, at_once) };
    let counts = Load::start(spec, vec![to]).finished().await.counts;
    ensure!(counts.ok_share() >= 1.0, "requests were lost: {counts:?}");
    Ok(counts.ok)
}

#[tokio::test]
async fn requests_at_zero_are_held_and_answered_and_above_zero_nothing_of_tidegate_is_in_their_path() -> Result<()> {
    let _cluster = Cluster::shared_for_long().await?;
    let scenario = Scenario::new("zero").await?;
    let changes = [
        ("preview.example.com", "tasks.example.com"),
        ("preview", "task-api"),
        ("requests-per-second: \"100\"", "requests-per-second: \"20\""),
        ("zero-after: 15m", "zero-after: 5s"),
    ];
    scenario.apply(&example("zero/zero.yaml", &changes)?).await?;
    asleep(&scenario).await?;
    let answered = burst_of(&scenario, 30).await?;
    ensure!(answered >= 20, "only {answered} were sent");
    ensure!(scenario.replicas("task-api").await? >= 1);
    let load = scenario.load(scenario.gateway("web", 8080).await?, http()?, 10.0).await?;
    until("the EndpointSlices are gone", async || {
        let left = scenario.get(&["endpointslices", "-l", OURS]).await?;
        ensure!(left["items"].as_array().is_some_and(Vec::is_empty), "{left}");
        Ok(())
    })
    .await?;
    let counts = load.snapshot().counts;
    ensure!(counts.ok_share() >= 1.0, "{counts:?}");
    drop(load);
    asleep(&scenario).await
}

#[tokio::test]
async fn not_one_request_is_lost_whenever_in_a_cycle_it_comes() -> Result<()> {
    let _cluster = Cluster::shared_for_long().await?;
    let scenario = sleeper("cycles", &[("requests-per-second", "20")]).await?;
    asleep(&scenario).await?;
    // One request each 7 s, while everything else takes other times: over the minutes they meet every moment of a cycle.
    let sparse = Profile::starting_at(1.0 / 7.0).hold(Duration::from_secs(150));
    let to = scenario.gateway("web", 8080).await?;
    let spec = LoadSpec { limits: patient(), ..LoadSpec::new(http()?, sparse) };
    let counts = Load::start(spec, vec![to]).finished().await.counts;
    ensure!(counts.ok >= 15 && counts.ok_share() >= 1.0, "{counts:?}");
    for _ in 0..2 {
        asleep(&scenario).await?;
        burst_of(&scenario, 5).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_caller_within_the_cluster_is_held_at_the_service_itself() -> Result<()> {
    let _cluster = Cluster::shared().await?;
    let scenario = sleeper("inside", &[("concurrency", "4")]).await?;
    asleep(&scenario).await?;
    let service = scenario.get(&["service", "task-api"]).await?;
    let ip = service["spec"]["clusterIP"].as_str().context("it has no clusterIP")?.to_owned();
    let (status, _) = get(&format!("http://{ip}:8000/tasks"), PATIENCE).await?;
    ensure!(status == 200, "{status}");
    Ok(())
}

#[tokio::test]
async fn a_tcp_connection_is_held_until_a_pod_is_ready() -> Result<()> {
    let _cluster = Cluster::shared().await?;
    let scenario = Scenario::new("zero-tcp").await?;
    let annotations = [("min-replicas", "0"), ("zero-after", "5s"), ("connections", "10")];
    let stack = gateway(&[("tcp", "TCP", 7070)])
        + &task_api("task-api", &annotations)
        + &route("TCPRoute", "tasks", "tcp", 7000, &[("task-api", 1)]);
    scenario.apply(&stack).await?;
    asleep(&scenario).await?;
    let to = scenario.gateway("web", 7070).await?;
    let echoed = async {
        let mut stream = TcpStream::connect(to).await?;
        stream.write_all(b"hello").await?;
        let mut answer = [0; 5];
        stream.read_exact(&mut answer).await?;
        anyhow::Ok(answer)
    };
    ensure!(timeout(PATIENCE, echoed).await?? == *b"hello");
    Ok(())
}

/// Sends a request, and expects 503 with this in its text, which the event of this reason has, too.
async fn refused(scenario: &Scenario, reason: &str, why: &str) -> Result<()> {
    refused_of(scenario, "Deployment", reason, why).await
}

async fn refused_of(scenario: &Scenario, kind: &str, reason: &str, why: &str) -> Result<()> {
    let to = scenario.gateway("web", 8080).await?;
    let (status, body) = get(&format!("http://{to}/tasks"), PATIENCE).await?;
    ensure!(status == 503 && body.contains("task-api") && body.contains(why), "{status}: {body}");
    let message = scenario.event(kind, "task-api", reason).await?;
    ensure!(message.contains(why), "{message}");
    Ok(())
}

#[tokio::test]
async fn a_request_to_a_pod_that_crashes_is_answered_503_with_the_reason_at_its_deadline() -> Result<()> {
    let _cluster = Cluster::shared().await?;
    let scenario = sleeper("never-ready", &[("requests-per-second", "20"), ("hold-timeout", "12s")]).await?;
    asleep(&scenario).await?;
    let crashes = r#"{"spec":{"template":{"spec":{"containers":[{"name":"task-api","args":["--no-such-flag"]}]}}}}"#;
    scenario.kubectl(&["patch", "deployment", "task-api", "-p", crashes]).await?;
    refused(&scenario, "HeldRequestsRefused", "container task-api crashes").await
}

#[tokio::test]
async fn where_a_quota_allows_no_pod_the_answer_and_the_event_say_so() -> Result<()> {
    let _cluster = Cluster::shared().await?;
    let scenario = sleeper("no-quota", &[("requests-per-second", "20"), ("hold-timeout", "12s")]).await?;
    asleep(&scenario).await?;
    allow_no_pod(&scenario).await?;
    refused(&scenario, "HeldRequestsRefused", "exceeded quota").await
}

#[tokio::test]
async fn where_a_quota_allows_no_pod_of_a_stateful_set_the_answer_and_the_event_say_so() -> Result<()> {
    let _cluster = Cluster::shared().await?;
    let scenario = Scenario::new("no-quota-stateful").await?;
    scenario.apply(&stateful(&sleeping_stack(&[("requests-per-second", "20"), ("hold-timeout", "12s")]))).await?;
    asleep_of(&scenario, "statefulset/task-api").await?;
    allow_no_pod(&scenario).await?;
    refused_of(&scenario, "StatefulSet", "HeldRequestsRefused", "exceeded quota").await
}

async fn allow_no_pod(scenario: &Scenario) -> Result<()> {
    scenario.kubectl(&["create", "quota", "none", "--hard=pods=0"]).await?;
    until("the quota applies", async || {
        let quota = scenario.get(&["quota", "none"]).await?;
        ensure!(quota["status"]["hard"]["pods"] == "0", "{quota}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_ready_pod_that_accepts_no_connection_is_named_and_not_its_start() -> Result<()> {
    let _cluster = Cluster::shared().await?;
    let scenario = sleeper("unreachable", &[("requests-per-second", "20"), ("hold-timeout", "12s")]).await?;
    asleep(&scenario).await?;
    // Its pods get ready, and nothing listens where the Service leads to.
    let elsewhere = r#"{"spec":{"ports":[{"name":"http","port":8000,"targetPort":9999}]}}"#;
    scenario.kubectl(&["patch", "service", "task-api", "-p", elsewhere]).await?;
    refused(&scenario, "HeldRequestsRefused", ":9999, which is ready, does not accept connections").await?;
    let message = scenario.event("Deployment", "task-api", "HeldRequestsRefused").await?;
    ensure!(message.contains("Its start did not fail") && message.contains("NetworkPolicies"), "{message}");
    Ok(())
}

#[tokio::test]
async fn a_start_that_takes_longer_than_the_route_waits_is_reported_with_the_field_to_set() -> Result<()> {
    let _cluster = Cluster::shared().await?;
    let scenario = sleeper("time-out", &[("requests-per-second", "20")]).await?;
    let slow = r#"{"spec":{"template":{"spec":{"containers":[{"name":"task-api","readinessProbe":{"initialDelaySeconds":3}}]}}}}"#;
    scenario.kubectl(&["patch", "deployment", "task-api", "-p", slow]).await?;
    asleep(&scenario).await?;
    let short = r#"[{"op": "add", "path": "/spec/rules/0/timeouts", "value": {"request": "100ms"}}]"#;
    scenario.kubectl(&["patch", "httproute", "tasks", "--type=json", "-p", short]).await?;
    let to = scenario.gateway("web", 8080).await?;
    until("the proxies wait no longer than the route says", async || {
        let (status, body) = get(&format!("http://{to}/tasks"), PATIENCE).await?;
        ensure!(status == 504, "{status}: {body}");
        Ok(())
    })
    .await?;
    let message = scenario.event("Deployment", "task-api", "HoldMayTimeOut").await?;
    let told = message.contains("its last start took") && message.contains("timeouts.request of HTTPRoute");
    ensure!(told, "{message}");
    Ok(())
}

#[tokio::test]
async fn wakes_beyond_the_limit_are_refused_and_the_event_says_how_many_and_until_when() -> Result<()> {
    let _cluster = Cluster::shared_for_long().await?;
    let scenario = sleeper("wake-limit", &[("requests-per-second", "20"), ("wake-limit", "1/h")]).await?;
    let to = scenario.gateway("web", 8080).await?;
    // Each pod of Tidegate counts its own wakes.
    let mut refused = None;
    for _ in 0..4 {
        asleep(&scenario).await?;
        let (status, body) = get(&format!("http://{to}/tasks"), PATIENCE).await?;
        if status == 503 {
            refused = Some(body);
            break;
        }
        ensure!(status == 200, "{status}: {body}");
    }
    let body = refused.context("no wake was refused")?;
    ensure!(body.contains("tidegate.dev/wake-limit"), "{body}");
    let message = scenario.event("Deployment", "task-api", "WakeLimitReached").await?;
    ensure!(message.contains("1 of 1 wakes (tidegate.dev/wake-limit 1/h)"), "{message}");
    Ok(())
}

#[tokio::test]
async fn outside_hours_a_request_is_answered_503_with_the_opening_and_wakes_nothing() -> Result<()> {
    let _cluster = Cluster::shared().await?;
    let never_today = [("hours", "Jan 1 03:00-03:01"), ("timezone", "UTC"), ("requests-per-second", "20")];
    let scenario = sleeper("closed", &never_today).await?;
    asleep(&scenario).await?;
    let to = scenario.gateway("web", 8080).await?;
    let (status, body) = get(&format!("http://{to}/tasks"), PATIENCE).await?;
    ensure!(status == 503 && body.contains("01-01T03:00:00"), "{status}: {body}");
    scenario.stays("task-api", Duration::from_secs(20), |replicas| replicas == 0).await
}

#[tokio::test]
async fn without_a_service_zero_keeps_one_replica_and_says_why() -> Result<()> {
    let _cluster = Cluster::shared().await?;
    let scenario = sleeper("no-service", &[("requests-per-second", "20")]).await?;
    scenario.kubectl(&["delete", "service", "task-api"]).await?;
    let message = scenario.event("Deployment", "task-api", "ZeroNeedsWakeSignal").await?;
    ensure!(message.contains("no Service selects its pods"), "{message}");
    until("one replica is the minimum", async || {
        let minimum = scenario.get(&["scaledobject", "task-api"]).await?["spec"]["minReplicaCount"].clone();
        ensure!(minimum == 1, "{minimum}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_workload_that_requests_wake_and_no_probe_looks_at_gets_an_event() -> Result<()> {
    let _cluster = Cluster::shared().await?;
    let scenario = sleeper("no-probe", &[("requests-per-second", "20")]).await?;
    let bare = r#"[{"op": "remove", "path": "/spec/template/spec/containers/0/readinessProbe"}]"#;
    scenario.kubectl(&["patch", "deployment", "task-api", "--type=json", "-p", bare]).await?;
    let message = scenario.event("Deployment", "task-api", "NoReadinessProbe").await?;
    ensure!(message.contains("Add a readinessProbe to the container that serves"), "{message}");
    Ok(())
}

#[tokio::test]
async fn replicas_for_a_step_of_the_load_are_asked_for_at_once() -> Result<()> {
    let _cluster = Cluster::shared().await?;
    let scenario = Scenario::new("burst").await?;
    scenario.apply(&http_stack(&[("requests-per-second", "10"), ("max-replicas", "6")])).await?;
    let to = scenario.gateway("web", 8080).await?;
    let _load = scenario.load(to, http()?, 45.0).await?;
    scenario.wait_for_replicas("task-api", 5).await?;
    scenario.stays("task-api", Duration::from_secs(45), |replicas| replicas >= 5).await
}
