use std::sync::Arc;

use chrono::DateTime;
use tidegate_core::{
    gate::{Gate, NotHeld},
    held::Held,
    ids::ServiceId,
    plan::Replicas,
    refused::{Limited, NoPod, Refused, TimedOut},
    request_timeout::{RequestTimeout, TimeoutOrigin},
};
use tokio::sync::watch;

use super::*;
use crate::demand::Gates;

#[tokio::test(start_paused = true)]
async fn of_a_workload_at_zero_it_is_said_what_becomes_of_requests() {
    let mut plan = plan("api", &[&BOTH[..], &[("min-replicas", "0")]].concat(), vec![share("web")]);
    let demands = measured(&plan, &[(RULE, [0.0, 0.0, 0.0])]);
    let workload = plan.workloads.get_mut(&deployment("api")).unwrap();
    workload.gates = Err(NotHeld::NoService);
    // The page is wrapped at 80 columns.
    let unwrapped = |plan: &Plan| page(plan, &demands).split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(unwrapped(&plan).contains("one replica is kept: no Service selects its pods"));
    let workload = plan.workloads.get_mut(&deployment("api")).unwrap();
    let service = ServiceId { namespace: "shop".to_owned(), name: "api".to_owned() };
    workload.gates = Ok([Gate { service, ports: Vec::new() }].into());
    workload.replicas = Replicas::default();
    assert!(unwrapped(&plan).contains("a request is held until a pod is ready, for 1m at most, and wakes it"));
}

/// A workload at zero behind a route that gives up after 15 s, as the activator knows it.
fn asleep(started: Option<u64>, refused: Refused) -> (Plan, Demands) {
    let annotations = [&BOTH[..], &[("min-replicas", "0"), ("wake-limit", "10/h")]].concat();
    let mut plan = plan("api", &annotations, vec![share("web")]);
    let workload = plan.workloads.get_mut(&deployment("api")).unwrap();
    let service = ServiceId { namespace: "shop".to_owned(), name: "api".to_owned() };
    workload.gates = Ok([Gate { service, ports: Vec::new() }].into());
    workload.replicas = Replicas::default();
    let (route, within) = (share("web").route, RequestTimeout::DEFAULT);
    workload.request_timeout = Some(RequestTimeout { route, within, origin: TimeoutOrigin::Default }.into());
    let gates = Gates {
        held: Arc::new(|_| Held::default()),
        lead: Arc::new(|_| true),
        refused: Arc::new(move |_| refused.clone()),
        started: Arc::new(move |_| started.map(Duration::from_secs)),
        news: watch::Sender::new(0).subscribe(),
    };
    let demands = measured(&plan, &[(RULE, [0.0, 0.0, 0.0])]).with_gates(gates);
    (plan, demands)
}

#[tokio::test(start_paused = true)]
async fn the_last_start_is_shown_beside_the_time_out_of_its_route_and_what_is_too_short_is_wrong() {
    let told = |started| {
        let (plan, demands) = asleep(started, Refused::default());
        let explanation = explain(&plan, &demands, &deployment("api")).unwrap();
        (explanation.notices.join("\n"), explanation.problems)
    };
    let (notices, problems) = told(None);
    assert!(
        notices.contains("how long it takes to start is not known")
            && notices.contains("rule 0 after 15 s (Envoy's default")
    );
    assert_eq!(problems, [""; 0]);
    let (notices, problems) = told(Some(15));
    assert!(notices.contains("its last start took 15.0 s"), "{notices}");
    assert_eq!(problems, [""; 0]);
    let (_, problems) = told(Some(70));
    assert_eq!(problems.len(), 2);
    assert!(problems[0].contains("set timeouts.request of HTTPRoute shop/web rule 0 to 140s"), "{problems:?}");
    assert!(problems[1].contains("tidegate.dev/hold-timeout to 140s"), "{problems:?}");
}

#[tokio::test(start_paused = true)]
async fn requests_that_were_refused_lately_are_told_with_their_reason() {
    let at = |seconds| DateTime::from_timestamp(seconds, 0).unwrap();
    let cause = NoPod::NotReady("container api crashes: it ended with exit code 1".to_owned());
    let refused = Refused {
        limited: Some(Limited { count: 37, since: at(0), until: at(360) }),
        timed_out: Some(TimedOut { count: 3, since: at(0), held: Duration::from_secs(60), cause }),
    };
    let (plan, demands) = asleep(None, refused);
    let problems = explain(&plan, &demands, &deployment("api")).unwrap().problems;
    assert_eq!(
        problems[1],
        "3 requests were held for 60 s and then answered 503 since 1970-01-01T00:00:00Z, the last one because: container api crashes: \
         it ended with exit code 1."
    );
    assert!(problems[0].starts_with("37 requests were answered 503 since 1970-01-01T00:00:00Z"), "{problems:?}");
}
