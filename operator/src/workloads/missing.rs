//! Reports to the owners of workloads which of their signals are not known: a failing source changes nothing, so nobody would notice.

use std::{fmt, sync::Arc};

use tidegate_core::{
    event::{Notice, Reason},
    plan::Plan,
    signal::Signal,
    workload::{WorkloadId, WorkloadRef},
};

use super::{detail::Detail, reports::report};
use crate::context::Context;

/// Function that returns the signals of a workload that are not known now, and why.
pub type Missing = Arc<dyn Fn(&WorkloadId, &Plan) -> Vec<(Signal, String)> + Send + Sync>;

/// A signal that is not known.
///
/// Two are equal whatever their reasons, which each broker may word differently: it is one notice for as long as it lasts.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SignalMissing {
    workload: WorkloadRef,
    signal: Signal,
    reason: Detail<String>,
}

impl fmt::Display for SignalMissing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { workload, signal, reason } = self;
        write!(
            f,
            "{signal} is not known: {reason}. Its last value is used for a while, and then replicas stay as they are. `tidegate \
             explain {workload}` shows when it is back"
        )
    }
}

impl Notice for SignalMissing {
    fn reason(&self) -> Reason {
        Reason::SignalMissing
    }
}

/// Reports each missing signal, while this replica leads.
pub async fn report_missing(missing: Missing, context: Context) {
    let look = |plan: &Plan| {
        let all = notices(plan, &missing).filter(|(_, notices)| !notices.is_empty());
        all.map(|(id, notices)| (id.clone(), notices)).collect()
    };
    report(look, context).await;
}

fn notices<'a>(plan: &'a Plan, missing: &Missing) -> impl Iterator<Item = (&'a WorkloadId, Vec<SignalMissing>)> {
    plan.workloads.keys().map(move |id| {
        let of = |(signal, reason)| {
            let workload = WorkloadRef { kind: id.kind, name: id.name.clone() };
            SignalMissing { workload, signal, reason: Detail(reason) }
        };
        (id, missing(id, plan).into_iter().map(of).collect())
    })
}

#[cfg(test)]
mod tests {
    use tidegate_core::workload::WorkloadKind;

    use super::*;

    fn missing(signal: Signal, reason: &str) -> SignalMissing {
        let workload = WorkloadRef { kind: WorkloadKind::Deployment, name: "billing".to_owned() };
        SignalMissing { workload, signal, reason: Detail(reason.to_owned()) }
    }

    #[test]
    fn a_reason_in_other_words_is_the_same_news() {
        let first = missing(Signal::KafkaLag, "broker 1 is away");
        assert_eq!(first, missing(Signal::KafkaLag, "broker 2 is away"));
        assert_ne!(first, missing(Signal::PrometheusQuery, "broker 1 is away"));
    }

    #[test]
    fn the_event_says_which_signal_why_and_where_to_look() {
        assert_eq!(
            missing(Signal::KafkaLag, "Kafka cluster default: no answer within 10s").to_string(),
            "kafka-lag is not known: Kafka cluster default: no answer within 10s. Its last value is used for a while, and then \
             replicas stay as they are. `tidegate explain deployment/billing` shows when it is back"
        );
    }
}
