//! Reports to the owners of workloads what became, or would become, of requests that were held for them.

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use tidegate_core::{
    event::{Notice, Reason},
    key::Key,
    plan::{Plan, PlannedWorkload},
    refused::{Limited, NoPod, Refused, TimedOut},
    request_timeout::HoldTooShort,
    wake::WakeLimit,
    workload::{WorkloadId, WorkloadRef},
};

use super::starts::Starts;
use crate::{
    context::Context,
    workloads::{Detail, report},
};

/// Function that returns what was refused lately, of all workloads of which anything was.
pub type AllRefused = Arc<dyn Fn() -> BTreeMap<WorkloadId, Refused> + Send + Sync>;

/// A notice about held requests.
///
/// Two are equal whatever their numbers, which change from one request to the next: it is one notice for as long as it lasts.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum HeldNotice {
    /// They may be ended before a pod is ready; the time-out that is too short
    MayTimeOut(Duration, Detail<HoldTooShort>),
    /// They found no pod; the cause without the name of the pod
    NoPod { namespace: String, workload: WorkloadRef, cause: NoPod, last: Detail<TimedOut> },
    /// They may not wake it
    Limited(WakeLimit, Detail<Limited>),
}

impl Notice for HeldNotice {
    fn reason(&self) -> Reason {
        match self {
            Self::MayTimeOut(..) => Reason::HoldMayTimeOut,
            Self::NoPod { .. } => Reason::HeldRequestsRefused,
            Self::Limited(..) => Reason::WakeLimitReached,
        }
    }
}

impl fmt::Display for HeldNotice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MayTimeOut(_, short) => write!(f, "{short}"),
            Self::NoPod { namespace, workload, last: Detail(TimedOut { held, cause, .. }), .. } => {
                let seconds = held.as_secs();
                write!(
                    f,
                    "requests were held for {seconds} s ({}) and then answered 503: {} ",
                    Key::HoldTimeout.annotation(),
                    cause.sentence()
                )?;
                match cause {
                    NoPod::NotReady(_) => write!(
                        f,
                        "Look at `kubectl -n {namespace} describe {workload}`, at its pods, and at `tidegate explain {workload} -n \
                         {namespace}`"
                    ),
                    NoPod::Unreachable(_) => write!(
                        f,
                        "Its start did not fail. Allow connections from Tidegate's pods to that port in the NetworkPolicies of namespace \
                         {namespace}, and look at what the pod listens on"
                    ),
                    NoPod::Busy(_) => write!(
                        f,
                        "Raise {}, {} or {}",
                        Key::Concurrency.annotation(),
                        Key::HoldTimeout.annotation(),
                        Key::MaxReplicas.annotation()
                    ),
                }
            }
            Self::Limited(limit, Detail(limited)) => f.write_str(&limited.told(*limit)),
        }
    }
}

/// Reports each start that takes longer than requests are held, or than the proxies wait, while this replica leads.
pub async fn report_starts(starts: Starts, context: Context) {
    let start = |id: &WorkloadId, workload: &PlannedWorkload| starts.last(id).or(workload.measured_startup);
    let notices = |id: &WorkloadId, workload: &PlannedWorkload| of_start(workload, start(id, workload));
    let look = |plan: &Plan| {
        let all = plan.workloads.iter().map(|(id, workload)| (id.clone(), notices(id, workload)));
        all.filter(|(_, notices)| !notices.is_empty()).collect()
    };
    report(look, context).await;
}

fn of_start(workload: &PlannedWorkload, start: Option<Duration>) -> Vec<HeldNotice> {
    let is_gated = workload.gates.as_ref().is_ok_and(|gates| !gates.is_empty());
    let (Some(start), Ok(intent), true) = (start, &workload.intent, is_gated) else { return Vec::new() };
    let all = HoldTooShort::for_start(start, intent.hold.timeout, workload.request_timeout.as_deref());
    let notice = |short: HoldTooShort| HeldNotice::MayTimeOut(short.limit(), Detail(short));
    all.map(notice).collect()
}

/// Reports requests that were refused after their time, or by `wake-limit`, while this replica leads.
pub async fn report_refused(all: AllRefused, context: Context) {
    let look = |plan: &Plan| {
        let notices = |(id, refused)| {
            let notices = of_refused(&id, plan.workloads.get(&id)?, refused);
            (!notices.is_empty()).then_some((id, notices))
        };
        all().into_iter().filter_map(notices).collect()
    };
    report(look, context).await;
}

fn of_refused(id: &WorkloadId, workload: &PlannedWorkload, refused: Refused) -> Vec<HeldNotice> {
    let limit = workload.intent.as_ref().ok().and_then(|intent| intent.hold.limit);
    let limited = limit.zip(refused.limited).map(|(limit, limited)| HeldNotice::Limited(limit, Detail(limited)));
    let no_pod = refused.timed_out.map(|last| HeldNotice::NoPod {
        namespace: id.namespace.clone(),
        workload: WorkloadRef { kind: id.kind, name: id.name.clone() },
        cause: match &last.cause {
            NoPod::Unreachable(_) => NoPod::Unreachable(String::new()),
            cause => cause.clone(),
        },
        last: Detail(last),
    });
    no_pod.into_iter().chain(limited).collect()
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, Utc};
    use tidegate_core::{
        calendar::Calendars,
        gate::Gate,
        ids::{RouteRef, ServiceId},
        intent::{Annotations, Intent},
        plan::Replicas,
        request_timeout::{RequestTimeout, TimeoutOrigin},
        workload::WorkloadKind,
    };

    use super::*;

    fn id() -> WorkloadId {
        WorkloadId { namespace: "shop".to_owned(), kind: WorkloadKind::Deployment, name: "api".to_owned() }
    }

    /// A workload whose requests are held for 20 s, behind a route of Envoy's default.
    fn workload() -> PlannedWorkload {
        let annotations =
            [("concurrency", "8"), ("min-replicas", "0"), ("hold-timeout", "20s"), ("wake-limit", "10/h")];
        let annotations: Annotations =
            annotations.iter().map(|(key, value)| (format!("tidegate.dev/{key}"), (*value).to_owned())).collect();
        let intent = Intent::of_workload(&annotations, "shop", &Annotations::new()).map(Option::unwrap);
        let new =
            PlannedWorkload::new(&id(), "1".to_owned(), intent, Vec::new(), Replicas::default(), 0, &Calendars::new());
        let route = RouteRef { kind: "HTTPRoute".into(), namespace: "shop".into(), name: "web".into(), rule: Some(0) };
        let timeout = RequestTimeout { route, within: RequestTimeout::DEFAULT, origin: TimeoutOrigin::Default };
        let service = ServiceId { namespace: "shop".into(), name: "api".into() };
        let gates = Ok([Gate { service, ports: Vec::new() }].into());
        PlannedWorkload { request_timeout: Some(Arc::new(timeout)), gates, ..new }
    }

    fn of_seconds(seconds: u64) -> Vec<HeldNotice> {
        of_start(&workload(), Some(Duration::from_secs(seconds)))
    }

    fn timed_out(cause: NoPod) -> HeldNotice {
        let last = TimedOut { count: 3, since: at(0), held: Duration::from_secs(20), cause };
        of_refused(&id(), &workload(), Refused { limited: None, timed_out: Some(last) }).remove(0)
    }

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(seconds, 0).unwrap()
    }

    #[test]
    fn a_start_within_all_time_outs_is_no_news_and_a_longer_one_is_once_however_long() {
        assert_eq!(of_start(&workload(), None), []);
        assert_eq!(of_seconds(15), []);
        assert_eq!(of_seconds(16), of_seconds(18));
        assert_eq!(of_seconds(16)[0].reason(), Reason::HoldMayTimeOut);
        let both: Vec<_> = of_seconds(21).iter().map(ToString::to_string).collect();
        assert_eq!(both.len(), 2);
        assert!(both[0].contains("HTTPRoute shop/web rule 0 after 15 s"), "{both:?}");
        assert!(both[1].contains("held for 20 s only"), "{both:?}");
    }

    #[test]
    fn refusals_for_want_of_a_pod_give_its_reason_and_each_reason_is_told_once() {
        let told = timed_out(NoPod::NotReady("container api crashes: it ended with exit code 1".into()));
        assert_eq!(told.reason(), Reason::HeldRequestsRefused);
        assert_eq!(
            told.to_string(),
            "requests were held for 20 s (tidegate.dev/hold-timeout) and then answered 503: container api crashes: it ended with exit \
             code 1. Look at `kubectl -n shop describe deployment/api`, at its pods, and at `tidegate explain deployment/api -n shop`"
        );
        assert_ne!(told, timed_out(NoPod::NotReady("its pod cannot be scheduled".into())));
        let unreachable =
            |pod: &str| timed_out(NoPod::Unreachable(format!("its pod at {pod}, which is ready, is silent")));
        assert_eq!(unreachable("10.0.0.1:80"), unreachable("10.0.0.2:80"));
        let text = unreachable("10.0.0.1:80").to_string();
        assert!(
            text.contains("10.0.0.1:80") && text.contains("Its start did not fail") && text.contains("NetworkPolicies")
        );
    }

    #[test]
    fn a_limit_that_binds_says_how_often_since_when_until_when_and_what_to_do() {
        let limited = |count| {
            let limited = Limited { count, since: at(0), until: at(360) };
            of_refused(&id(), &workload(), Refused { limited: Some(limited), timed_out: None }).remove(0)
        };
        assert_eq!((limited(1), limited(1).reason()), (limited(37), Reason::WakeLimitReached));
        assert_eq!(
            limited(37).to_string(),
            "37 requests were answered 503 since 1970-01-01T00:00:00Z, because 10 of 10 wakes (tidegate.dev/wake-limit 10/h) are used: \
             the next request that wakes it is one after 1970-01-01T00:06:00Z. If they come from clients, raise the limit; if from a scanner \
             or a probe, name it in tidegate.dev/wake-ignore"
        );
    }

    #[test]
    fn a_workload_that_never_sleeps_holds_nothing_however_long_it_starts() {
        let awake = PlannedWorkload { gates: Ok(Arc::default()), ..workload() };
        assert_eq!(of_start(&awake, Some(Duration::from_secs(100))), []);
    }

    #[test]
    fn a_workload_whose_limit_is_gone_is_told_nothing_of_it() {
        let mut free = workload();
        if let Ok(intent) = &mut free.intent {
            intent.hold.limit = None;
        }
        let limited = Limited { count: 1, since: at(0), until: at(360) };
        assert_eq!(of_refused(&id(), &free, Refused { limited: Some(limited), timed_out: None }), []);
    }
}
