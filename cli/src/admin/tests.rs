use std::time::Instant;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use tidegate_cluster::Objects;
use tidegate_core::{plan::Replicas, workload::WorkloadId};
use tidegate_operator::{lease::term, problems::ProblemBook};
use tidegate_scaler::{
    history::{Cause, Change, HistoryAnswer, Why},
    overview::Overview,
    store::SignalStore,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    time::timeout,
};
use tokio_util::sync::DropGuard;

use super::*;

async fn connect(from: [u8; 4], to: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((from, 0).into()).unwrap();
    socket.connect(to).await.unwrap()
}

#[tokio::test]
async fn half_requests_are_closed_in_seconds_and_livez_answers_meanwhile() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stop = CancellationToken::new();
    let router = Router::new().route("/livez", get(|| async { "ok\n" }));
    tokio::spawn(answer(listener, router, stop.clone()));
    let mut halves = Vec::new();
    for _ in 0..300 {
        let mut stream = connect([127, 0, 0, 2], address).await;
        // A connection beyond the peer's limit is closed already.
        let _ = stream.write_all(b"GET /livez HTTP/1.1\r\nHost: ").await;
        halves.push(stream);
    }
    let mut probe = connect([127, 0, 0, 3], address).await;
    probe.write_all(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    probe.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let asked = Instant::now();
    for mut half in halves {
        let mut rest = Vec::new();
        // An error means that the connection is closed, too.
        let _ = timeout(2 * HEADERS, half.read_to_end(&mut rest)).await.unwrap();
    }
    assert!(asked.elapsed() < 2 * HEADERS);
}

/// The real server over a Deployment `api` that nothing measures, with a history of its own.
struct Served {
    address: SocketAddr,
    history: Arc<History>,
    _stop: DropGuard,
}

const NOW: &str = "2026-03-02T12:00:00Z";

async fn served(problems: Option<KnownProblems>) -> Served {
    let mut objects = Objects::default();
    let deployment = json!({"apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "api", "namespace": "shop", "uid": "1", "annotations": {"tidegate.dev/requests-per-second": "100"}},
        "spec": {"replicas": 6, "template": {"metadata": {"labels": {"app": "api"}}}},
        "status": {"replicas": 6, "readyReplicas": 5}});
    objects.apply(deployment).unwrap();
    let (plan, planned) = watch::channel(Some(Arc::new(objects.plan())));
    let (stale_after, now) = (Duration::from_secs(300), NOW.parse::<DateTime<Utc>>().unwrap());
    let demands = Demands::new(Arc::new(SignalStore::new(stale_after)), stale_after).with_clock(Arc::new(move || now));
    let history = Arc::new(History::default());
    let admin = Admin {
        registry: Registry::default(),
        savings: Savings::default(),
        checks: Box::new(Vec::new),
        plan: planned,
        demands: Arc::new(demands),
        history: Arc::clone(&history),
        overviews: Overviews::default(),
        streams: Streams::default(),
        problems,
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stop = CancellationToken::new();
    tokio::spawn(answer(listener, router(admin), stop.clone()));
    // Nothing changes the Plan.
    drop(plan);
    Served { address, history, _stop: stop.drop_guard() }
}

impl Served {
    /// The status and the body of an answer.
    async fn get(&self, path: &str) -> (u16, String) {
        let mut stream = connect([127, 0, 0, 1], self.address).await;
        stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: x\r\n\r\n").as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    }

    async fn json<T: DeserializeOwned>(&self, path: &str) -> T {
        let (status, body) = self.get(path).await;
        assert_eq!(status, 200, "{body}");
        serde_json::from_str(&body).unwrap()
    }

    /// Adds a change of some hours ago.
    fn changed(&self, hours: i64, from: Option<u32>, to: Option<u32>) {
        let id: WorkloadId =
            serde_json::from_value(json!({"namespace": "shop", "kind": "Deployment", "name": "api"})).unwrap();
        let change = Change {
            at: NOW.parse::<DateTime<Utc>>().unwrap() - TimeDelta::hours(hours),
            from,
            to,
            cause: Cause::Annotations,
            detail: Some("max-replicas 10 → 20".to_owned()),
            why: Why::default(),
            replicas: Replicas { wanted: 6, ready: 5 },
        };
        self.history.add(&id, &change);
    }
}

#[tokio::test]
async fn the_history_of_a_workload_goes_back_as_far_as_is_asked_for() {
    let served = served(None).await;
    let answer: HistoryAnswer = served.json("/history/shop/deployment/api").await;
    assert_eq!((answer.remembered_since, answer.changes.len()), (None, 0), "it is known, and nothing has changed");
    served.changed(30, None, Some(3));
    served.changed(2, Some(3), Some(7));
    let numbers = async |query: &str| {
        let answer: HistoryAnswer = served.json(&format!("/history/shop/deploy/api{query}")).await;
        answer.changes.iter().map(|told| told.change.to.unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(numbers("").await, [7]);
    assert_eq!(numbers("?since=7d").await, [3, 7]);
    let page = served.get("/explain/shop/deployment/api?format=page").await.1;
    assert!(page.contains("LAST CHANGES") && page.contains("2026-03-02T10:00:00Z 3 → 7"), "{page}");
    let words: Vec<_> = page.split_whitespace().collect();
    assert!(words.join(" ").contains("(annotations: max-replicas 10 → 20)"), "{page}");
}

#[tokio::test]
async fn what_is_asked_wrongly_is_answered_with_what_is_wanted() {
    let served = served(None).await;
    for (path, status, text) in [
        ("/history/shop/deployment/web", 404, "known in its namespace: deployment/api"),
        ("/history/shop/pod/api", 400, "is not a workload"),
        ("/history/shop/deployment/api?since=yesterday", 400, "such as 24h or 7d"),
        ("/history/shop/deployment/api?since=99999999y", 400, "such as 24h or 7d"),
    ] {
        let (was, body) = served.get(path).await;
        assert!(was == status && body.contains(text), "{path}: {was} {body}");
    }
}

#[tokio::test]
async fn the_fleet_has_a_row_for_each_workload_of_the_namespaces_that_are_asked_for() {
    let served = served(None).await;
    let names = async |path: &str| {
        let overview: Overview = served.json(path).await;
        overview.workloads.into_iter().map(|row| row.name).collect::<Vec<_>>()
    };
    assert_eq!(names("/fleet").await, ["api"]);
    assert_eq!(names("/fleet?namespace=shop").await, ["api"]);
    assert_eq!(names("/fleet?namespace=edge").await, [""; 0]);
}

#[tokio::test]
async fn a_process_that_does_not_lead_shows_what_its_signals_show_and_says_so() {
    let (term, leadership) = term();
    let follows = served(Some(KnownProblems { book: ProblemBook::default(), leadership })).await;
    let answer: ProblemsAnswer = follows.json("/problems").await;
    assert!(!answer.complete && answer.problems[0].problem.message.contains("no route reaches"), "{answer:?}");
    let elsewhere: ProblemsAnswer = follows.json("/problems?namespace=edge").await;
    assert_eq!(elsewhere.problems, []);
    drop(term);
}

#[tokio::test]
async fn a_process_that_starts_takes_over_what_another_one_remembers() {
    let elder = served(None).await;
    elder.changed(30, None, Some(3));
    elder.changed(2, Some(3), Some(7));
    let young = Arc::new(History::default());
    crate::elders::recall(Arc::clone(&young), elder.address.to_string(), CancellationToken::new()).await;
    let id = &elder.history.workloads()[0];
    assert_eq!(young.changes(id, DateTime::UNIX_EPOCH), elder.history.changes(id, DateTime::UNIX_EPOCH));
}

/// The JSON in a section of the page about this server.
fn documented<T: DeserializeOwned + Serialize>(section: &str) {
    let page = include_str!("../../../docs/admin.md");
    let (_, section) = page.split_once(&format!("## {section}\n")).unwrap();
    let json = section.split("```json\n").nth(1).unwrap().split("```").next().unwrap();
    let value: Value = serde_json::from_str(json).unwrap();
    let parsed: T = serde_json::from_value(value.clone()).unwrap();
    assert_eq!(serde_json::to_value(parsed).unwrap(), value);
}

#[test]
fn the_shapes_are_as_they_are_documented() {
    documented::<HistoryAnswer>("History");
    documented::<Overview>("Fleet");
    documented::<ProblemsAnswer>("Problems");
}
