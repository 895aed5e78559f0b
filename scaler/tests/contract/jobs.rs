//! ScaledJobs: KEDA asks for the same as for a ScaledObject, and makes Jobs of the answers by arithmetic of its own
//! (`getScaledJobMetrics` in `pkg/scaling/scale_handler.go`, `pkg/scaling/scaledjob/metrics.go`,
//! `pkg/scaling/executor/scale_jobs.go`).

use tidegate_core::{kafka::Lag, plan::Plan};
use tidegate_proto::ScaledObjectRef;
use tonic::{Code, Status};

use crate::support::{Client, Server, in_time, is_active, metric, object};

/// `maxReplicaCount` of the ScaledJob.
const MOST: f64 = 20.0;

const LAG: [(&str, &str); 3] = [("kafkaLag", "50"), ("kafkaGroup", "builder"), ("kafkaTopics", "/reports-.*/")];

fn job(more: &[(&str, &str)]) -> ScaledObjectRef {
    object(&[&LAG, more].concat())
}

/// The Jobs that KEDA makes in one poll beside the `running` ones, with `scalingStrategy: default`.
async fn new_jobs(client: &mut Client, object: &ScaledObjectRef, running: f64) -> Result<f64, Status> {
    let specs = in_time(client.get_metric_spec(object.clone())).await?.into_inner().metric_specs;
    // CalculateQueueLengthAndMaxValue: the mean of all targets, and the value of the first metric alone.
    let target = specs.iter().map(|spec| spec.target_size_float).sum::<f64>() / specs.len() as f64;
    let waiting = metric(client, object, &specs[0].metric_name).await?;
    let most = if is_active(client, object).await? { (waiting / target).min(MOST).ceil() } else { 0.0 };
    // createJobs: never more than the queue is long.
    Ok((most - running).max(0.0).min(waiting.ceil()))
}

/// A scaler whose sweeps have found this lag for all that is asked for.
async fn with_lag(objects: &[&ScaledObjectRef], lag: Lag) -> (Server, Client) {
    let server = Server::start(Plan::default()).await;
    let mut client = server.client().await;
    for object in objects {
        assert_eq!(is_active(&mut client, object).await.unwrap_err().code(), Code::Unavailable);
    }
    let wanted = server.signals.wanted_lags().into_iter();
    server.signals.commit_lags(wanted.map(|wanted| (wanted, Ok(lag))).collect());
    (server, client)
}

fn waiting(messages: u64) -> Lag {
    Lag { messages, partitions: 6, with_lag: 6, ..Lag::default() }
}

#[tokio::test]
async fn a_scaled_job_gets_a_job_for_each_target_of_messages_and_no_more_than_partitions() {
    let object = job(&[]);
    for (messages, running, new) in
        [(0, 0.0, 0.0), (1, 0.0, 1.0), (120, 0.0, 3.0), (120, 2.0, 1.0), (120, 3.0, 0.0), (9_000, 0.0, 6.0)]
    {
        let (_server, mut client) = with_lag(&[&object], waiting(messages)).await;
        let made = new_jobs(&mut client, &object, running).await.unwrap();
        assert_eq!(made, new, "{messages} messages wait, {running} Jobs run");
    }
}

#[tokio::test]
async fn a_scaled_job_waits_for_its_activation() {
    let object = job(&[("kafkaActivation", "100")]);
    let (_server, mut client) = with_lag(&[&object], waiting(100)).await;
    assert_eq!(new_jobs(&mut client, &object, 0.0).await.unwrap(), 0.0);
}

#[tokio::test]
async fn hours_without_a_floor_only_cap_the_jobs() {
    let hours = |hours, off| {
        let off = [("minReplicas", "0"), ("offHoursReplicas", off)];
        job(&[&[("hours", hours), ("timezone", "Europe/Berlin")], &off[..]].concat())
    };
    let (open, reduced, closed) = (hours("24/7", "0"), hours("off", "2"), hours("off", "0"));
    let (_server, mut client) = with_lag(&[&open, &reduced], waiting(250)).await;
    assert_eq!(new_jobs(&mut client, &open, 0.0).await.unwrap(), 5.0, "as without hours");
    assert_eq!(new_jobs(&mut client, &reduced, 0.0).await.unwrap(), 2.0);
    assert_eq!(new_jobs(&mut client, &closed, 0.0).await.unwrap(), 0.0);
    // What docs/kafka.md warns of: a floor is a second metric, and KEDA divides by the mean of 50 and 1.
    let floor = job(&[("hours", "24/7"), ("timezone", "Europe/Berlin")]);
    assert_eq!(new_jobs(&mut client, &floor, 0.0).await.unwrap(), 10.0);
}

#[tokio::test]
async fn hours_alone_keep_a_number_of_jobs_at_work() {
    let hours = [("hours", "24/7"), ("timezone", "Europe/Berlin"), ("minReplicas", "3")];
    let server = Server::start(Plan::default()).await;
    let mut client = server.client().await;
    assert_eq!(new_jobs(&mut client, &object(&hours), 1.0).await.unwrap(), 2.0);
}

#[tokio::test]
async fn what_is_not_known_makes_no_job() {
    let object = job(&[]);
    let server = Server::start(Plan::default()).await;
    let mut client = server.client().await;
    assert_eq!(new_jobs(&mut client, &object, 0.0).await.unwrap_err().code(), Code::Unavailable);
    let wanted = server.signals.wanted_lags().remove(0);
    server.signals.commit_lags(vec![(wanted, Err("/reports-.*/ matches no topic".to_owned()))]);
    let refused = new_jobs(&mut client, &object, 0.0).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable);
    assert!(refused.message().contains("group builder on /reports-.*/ of Kafka cluster default: "), "{refused}");
}
