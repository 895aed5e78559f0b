use http::StatusCode;
use serde_json::{Value, json};
use tokio::{
    task::JoinHandle,
    time::{advance, sleep},
};

use super::*;
use crate::fixture::{ApiServer, Scenario};

const PATH: &str = "/apis/coordination.k8s.io/v1/namespaces/system/leases/tidegate";

fn lock(server: &ApiServer, holder: &str) -> Lock {
    Lock::new(Api::namespaced(server.client(), "system"), "tidegate", holder)
}

async fn tries(lock: &mut Lock) -> bool {
    lock.acquire_or_renew().await.unwrap()
}

fn holder(server: &ApiServer) -> Value {
    server.object(PATH)["spec"]["holderIdentity"].clone()
}

/// Another replica, whose clock is years behind, holds the Lease.
fn held_by_another(server: &ApiServer) {
    let spec = json!({
        "holderIdentity": "other", "leaseDurationSeconds": 15, "leaseTransitions": 6,
        "renewTime": "2001-01-01T00:00:00.000000Z",
    });
    server.change(PATH, &json!({ "metadata": { "name": "tidegate" }, "spec": spec }));
}

/// The other one renews.
fn renewed_by_another(server: &ApiServer, second: u32) {
    server.change(PATH, &json!({ "spec": { "renewTime": format!("2001-01-01T00:00:{second:02}.000000Z") } }));
}

struct Candidate {
    leadership: Leadership,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

fn candidate(server: &ApiServer, holder: &str) -> Candidate {
    let settings = LeaseSettings { namespace: "system".into(), name: "tidegate".into(), holder: holder.into() };
    let (term, leadership) = term();
    let stop = CancellationToken::new();
    let task = tokio::spawn(compete(server.client(), settings, term, stop.clone()));
    Candidate { leadership, stop, task }
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_is_not_there_or_free_is_taken() {
    let server = ApiServer::default();
    assert!(tries(&mut lock(&server, "a")).await);
    assert_eq!(server.object(PATH)["spec"]["leaseTransitions"], 0);
    server.change(PATH, &json!({ "spec": { "holderIdentity": null } }));
    assert!(tries(&mut lock(&server, "b")).await);
    assert_eq!(holder(&server), "b");
    assert_eq!(server.object(PATH)["spec"]["leaseTransitions"], 1);
}

#[tokio::test(start_paused = true)]
async fn a_renewal_keeps_when_the_lease_was_acquired_and_counts_no_transition() {
    let server = ApiServer::default();
    let mut lock = lock(&server, "a");
    assert!(tries(&mut lock).await);
    let acquired = server.object(PATH)["spec"]["acquireTime"].clone();
    assert!(acquired.is_string());
    assert!(tries(&mut lock).await);
    assert_eq!(server.object(PATH)["spec"]["acquireTime"], acquired);
    assert_eq!(server.object(PATH)["spec"]["leaseTransitions"], 0);
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_another_renews_is_never_taken_however_wrong_its_clock_is() {
    let server = ApiServer::default();
    held_by_another(&server);
    let mut lock = lock(&server, "a");
    for second in 0..20 {
        assert!(!tries(&mut lock).await);
        advance(Duration::from_secs(14)).await;
        renewed_by_another(&server, second);
    }
    assert_eq!(holder(&server), "other");
}

#[tokio::test(start_paused = true)]
async fn a_record_that_stays_unchanged_for_a_term_by_our_clock_is_taken_over() {
    let server = ApiServer::default();
    held_by_another(&server);
    let mut lock = lock(&server, "a");
    assert!(!tries(&mut lock).await, "its times are old, but they are another clock's");
    advance(Duration::from_millis(14_999)).await;
    assert!(!tries(&mut lock).await);
    advance(Duration::from_millis(1)).await;
    assert!(tries(&mut lock).await);
    assert_eq!(holder(&server), "a");
    assert_eq!(server.object(PATH)["spec"]["leaseTransitions"], 7);
}

#[tokio::test(start_paused = true)]
async fn a_candidate_frozen_between_reading_and_writing_loses_to_the_one_that_wrote() {
    let server = ApiServer::default();
    held_by_another(&server);
    let mut frozen = lock(&server, "frozen");
    assert!(!tries(&mut frozen).await);
    advance(TTL).await;
    server.play(Scenario::IsLate(Duration::from_secs(25)));
    let attempt = tokio::spawn(async move { tries(&mut frozen).await });
    sleep(Duration::from_secs(1)).await;
    server.change(PATH, &json!({ "spec": { "holderIdentity": "faster" } }));
    assert!(!attempt.await.unwrap());
    assert_eq!(holder(&server), "faster");
}

#[tokio::test(start_paused = true)]
async fn a_leader_frozen_between_reading_and_writing_does_not_renew_what_is_another_s_by_then() {
    let server = ApiServer::default();
    let mut frozen = lock(&server, "frozen");
    assert!(tries(&mut frozen).await);
    server.play(Scenario::IsLate(Duration::from_secs(25)));
    let attempt = tokio::spawn(async move { tries(&mut frozen).await });
    sleep(Duration::from_secs(20)).await;
    held_by_another(&server);
    assert!(!attempt.await.unwrap());
    assert_eq!(holder(&server), "other");
}

#[tokio::test(start_paused = true)]
async fn of_two_candidates_on_one_lease_that_is_over_exactly_one_leads() {
    let server = ApiServer::default();
    held_by_another(&server);
    let (mut a, mut b) = (lock(&server, "a"), lock(&server, "b"));
    assert!(!tries(&mut a).await && !tries(&mut b).await);
    advance(TTL).await;
    // Both read before either writes.
    server.play(Scenario::IsLate(Duration::from_secs(1)));
    let (a, b) = tokio::join!(tries(&mut a), tries(&mut b));
    assert!(a != b, "a: {a}, b: {b}");
    assert_eq!(holder(&server), if a { "a" } else { "b" });
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_cannot_renew_stops_before_others_may_start() {
    let server = ApiServer::default();
    let leader = candidate(&server, "a");
    sleep(Duration::from_millis(1)).await;
    assert!(leader.leadership.may_write());
    server.play(Scenario::Answers(StatusCode::INTERNAL_SERVER_ERROR));
    sleep(Duration::from_millis(9_998)).await;
    assert!(leader.leadership.may_write(), "one failure is no reason to stop");
    sleep(Duration::from_millis(2)).await;
    assert!(!leader.leadership.may_write());
    server.play(Scenario::IsWell);
    sleep(RENEW).await;
    assert!(leader.leadership.may_write(), "nobody else has taken it");
}

#[tokio::test(start_paused = true)]
async fn a_renewal_that_was_answered_too_late_is_no_leadership() {
    let (term, leadership) = term();
    let asked = Instant::now();
    advance(GIVE_UP).await;
    assert!(!term.renew(asked), "it was held when asked for, and may be another's by now");
    assert!(!leadership.may_write());
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_stops_frees_the_lease_for_the_next_at_once() {
    let server = ApiServer::default();
    let leader = candidate(&server, "a");
    sleep(Duration::from_millis(1)).await;
    let next = candidate(&server, "b");
    sleep(Duration::from_millis(1)).await;
    assert!(leader.leadership.may_write() && !next.leadership.may_write());
    leader.stop.cancel();
    leader.task.await.unwrap();
    assert!(!leader.leadership.may_write());
    assert_eq!(holder(&server), Value::Null);
    sleep(RENEW).await;
    assert!(next.leadership.may_write());
}

#[tokio::test(start_paused = true)]
async fn stepping_down_leaves_a_lease_alone_that_is_another_s() {
    let server = ApiServer::default();
    held_by_another(&server);
    lock(&server, "a").step_down().await.unwrap();
    assert_eq!(holder(&server), "other");
}

#[tokio::test(start_paused = true)]
async fn those_who_wait_hear_of_leadership_again_after_it_had_aged_without_a_word() {
    let (term, mut leadership) = term();
    term.begin();
    assert!(leadership.changed().await);
    advance(GIVE_UP).await;
    assert!(!leadership.may_write());
    term.begin();
    assert!(leadership.changed().await);
}
