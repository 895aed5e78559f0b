//! The metadata of a ScaledObject's trigger: the contract between the ScaledObject and the scaler.
//!
//! The operator writes it, and people do by hand; both are served alike. All that decides the HPA's targets stands in
//! it, for two reasons: KEDA re-reads targets only when the ScaledObject changes, and `GetMetricSpec` must be answered
//! whatever else is broken (KEDA's fallback never fires when it fails, kedacore/keda#8056).

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use crate::{
    calendar::Calendar,
    ids::ServiceId,
    intent::shortened,
    kafka::KafkaIntent,
    key::Key,
    problem::Problem,
    schedule::Schedule,
    signal::{Family, PerReplica, Signal, Target},
    value::{self, ReadKeys, Wanted},
    workload::{WorkloadId, WorkloadRef},
};

/// The key that names the workload whose traffic counts; written by the operator.
pub const WORKLOAD: &str = "workload";
/// The key that names the Service whose traffic counts.
pub const SERVICE: &str = "service";
/// The key that names Envoy clusters directly, separated by commas.
pub const CLUSTERS: &str = "clusters";

/// The key that says that the workload's own hours count; written by the operator. What these are is not in the metadata, so
/// that an override for tonight changes no ScaledObject.
pub const SCHEDULE: &str = "schedule";

/// Keys that KEDA's own external scaler reads from the same metadata (`pkg/scalers/external_scaler.go`).
const KEDAS_OWN: [&str; 8] = [
    "scalerAddress",
    "enableTLS",
    "unsafeSsl",
    "caCert",
    "tlsClientCert",
    "tlsClientKey",
    "tlsCertFile",
    "triggerIndex",
];

/// What one trigger asks for.
#[derive(Debug, Clone, PartialEq)]
pub struct Trigger {
    /// Of the ScaledObject that it stands in
    pub namespace: String,
    /// The signals that decide; never empty
    pub targets: Vec<Target>,
    /// Whose traffic counts; `None` when no target is about traffic
    pub traffic: Option<Traffic>,
    /// The PromQL of [`Signal::PrometheusQuery`]
    pub query: Option<String>,
    /// Whose lag is [`Signal::KafkaLag`] and [`Signal::KafkaLagSeconds`]
    pub kafka: Option<KafkaIntent>,
    /// Whose tokens are [`Signal::InputTokens`] and [`Signal::OutputTokens`], where the trigger says so
    pub model: Option<String>,
    /// Whose hours count, if any do
    pub schedule: Option<TriggerSchedule>,
}

/// Whose hours count.
#[derive(Debug, Clone, PartialEq)]
pub enum TriggerSchedule {
    /// Those of the workload, as its annotations say
    OfWorkload,
    /// Those that the trigger names
    Own(Arc<Schedule>),
}

/// Whose traffic counts.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Traffic {
    /// What reaches a workload
    Workload(WorkloadId),
    /// What reaches a Service, whatever stands behind it
    Service(ServiceId),
    /// What these Envoy clusters carry
    Clusters(Vec<String>),
}

impl Trigger {
    /// Parses trigger metadata, as it comes in a `ScaledObjectRef`.
    ///
    /// ```
    /// use std::collections::HashMap;
    /// use tidegate_core::trigger::Trigger;
    ///
    /// let metadata = HashMap::from([
    ///     ("service".to_owned(), "task-api".to_owned()),
    ///     ("requestsPerSecond".to_owned(), "100".to_owned()),
    /// ]);
    /// assert_eq!(Trigger::parse("default", &metadata)?.targets[0].per_replica.get(), 100.0);
    /// # Ok::<(), Vec<tidegate_core::problem::Problem>>(())
    /// ```
    pub fn parse(namespace: &str, metadata: &HashMap<String, String>) -> Result<Self, Vec<Problem>> {
        let mut reader = Reader { metadata, problems: Vec::new() };
        let trigger = reader.trigger(namespace);
        let mut problems = reader.problems;
        problems.extend(unknown_keys(metadata));
        if problems.is_empty() { Ok(trigger) } else { Err(problems) }
    }

    /// The metadata that [`Self::parse`] reads back, less the scaler's address. Keys in alphabetical order.
    pub fn metadata(
        targets: &[Target],
        query: Option<&str>,
        kafka: Option<&KafkaIntent>,
        model: Option<&str>,
        workload: &WorkloadRef,
    ) -> Vec<(&'static str, String)> {
        let mut metadata: Vec<_> = targets
            .iter()
            .map(|target| match target.signal.target_key() {
                Some(key) => (key.camel_case(), target.per_replica.to_string()),
                None => (SCHEDULE, true.to_string()),
            })
            .collect();
        metadata.extend(query.map(|query| (Key::PrometheusQuery.camel_case(), query.to_owned())));
        metadata.extend(kafka.into_iter().flat_map(KafkaIntent::metadata));
        metadata.extend(model.map(|model| (Key::Model.camel_case(), model.to_owned())));
        metadata.push((WORKLOAD, workload.to_string()));
        metadata.sort();
        metadata
    }
}

fn keys() -> impl Iterator<Item = Key> {
    Signal::ALL.into_iter().filter_map(Signal::target_key).chain(
        [
            Key::PrometheusQuery,
            Key::Model,
            Key::Hours,
            Key::Timezone,
            Key::OffHoursReplicas,
            Key::WarmUp,
            Key::MinReplicas,
        ]
        .into_iter()
        .chain(Key::OF_KAFKA),
    )
}

/// KEDA resolves `xFromEnv` itself but leaves the key as it was written.
fn without_suffix(key: &str) -> &str {
    key.strip_suffix("FromEnv").unwrap_or(key)
}

/// Unknown keys that are told of: nobody reads more of them.
const MOST_UNKNOWN: usize = 20;

fn unknown_keys(metadata: &HashMap<String, String>) -> Vec<Problem> {
    let mut unknown: Vec<_> = metadata
        .keys()
        .map(|name| without_suffix(name))
        .filter(|name| ![WORKLOAD, SERVICE, CLUSTERS, SCHEDULE].contains(name) && !KEDAS_OWN.contains(name))
        .filter(|name| !keys().any(|key| key.camel_case() == *name))
        .collect();
    unknown.sort_unstable();
    let more = unknown.len().saturating_sub(MOST_UNKNOWN);
    unknown.truncate(MOST_UNKNOWN);
    let candidates: Vec<_> = keys().collect();
    let problem =
        |name| Problem::UnknownMetadata { name: shortened(name), nearest: Key::nearest_camel_case(name, &candidates) };
    let more =
        (more > 0).then(|| Problem::Contradiction(format!("of keys that trigger metadata does not have, {more} more")));
    unknown.into_iter().map(problem).chain(more).collect()
}

struct Reader<'a> {
    metadata: &'a HashMap<String, String>,
    problems: Vec<Problem>,
}

impl ReadKeys for Reader<'_> {
    fn read<T>(&mut self, key: Key, parse: impl FnOnce(&str) -> Result<T, Wanted>) -> Option<T> {
        self.named(key.camel_case(), parse)
    }
}

impl Reader<'_> {
    fn named<T>(&mut self, key: &str, parse: impl FnOnce(&str) -> Result<T, Wanted>) -> Option<T> {
        let value = self.metadata.get(key).or_else(|| self.metadata.get(&format!("{key}FromEnv")))?;
        let malformed =
            |wanted| Problem::Malformed { key: key.to_owned(), got: shortened(value), wanted, inherited: None };
        value::bounded(value, parse).map_err(|wanted| self.problems.push(malformed(wanted))).ok()
    }

    fn trigger(&mut self, namespace: &str) -> Trigger {
        let mut targets = Vec::new();
        for signal in Signal::ALL {
            let Some(key) = signal.target_key() else { continue };
            if let Some(per_replica) = self.read(key, value::target_of(signal)) {
                targets.push(Target { signal, per_replica });
            }
        }
        let schedule = self.schedule(namespace, targets.is_empty());
        if schedule.is_some() {
            targets.push(Target { signal: Signal::Schedule, per_replica: PerReplica::ONE });
        }
        let query = self.read(Key::PrometheusQuery, value::query);
        let kafka = KafkaIntent::read(self);
        let model = self.read(Key::Model, value::text);
        let traffic = self.traffic(namespace);
        self.check(&targets, query.as_ref(), kafka.as_ref(), traffic.as_ref());
        self.check_model(&targets, model.as_ref(), traffic.as_ref());
        if schedule == Some(TriggerSchedule::OfWorkload) && !matches!(traffic, Some(Traffic::Workload(_))) {
            let message = format!(
                "trigger metadata has {SCHEDULE}, which needs {WORKLOAD}; hours of its own are given with hours and timezone"
            );
            self.problems.push(Problem::Contradiction(message));
        }
        Trigger { namespace: namespace.to_owned(), targets, traffic, query, kafka, model, schedule }
    }

    fn schedule(&mut self, name: &str, only_hours: bool) -> Option<TriggerSchedule> {
        let of_workload = self.named(SCHEDULE, value::boolean);
        let hours = self.read(Key::Hours, value::hours);
        let zone = self.read(Key::Timezone, value::time_zone);
        let off_hours_replicas = self.read(Key::OffHoursReplicas, value::replicas);
        let warm_up = self.read(Key::WarmUp, value::warm_up).unwrap_or_default();
        let floor = self.read(Key::MinReplicas, value::replicas);
        match (hours, zone) {
            (Some(hours), Some(zone)) => Some(TriggerSchedule::Own(Arc::new(Schedule {
                calendar: Calendar::new(hours, zone),
                floor: floor.unwrap_or(1),
                off_hours_replicas: off_hours_replicas.unwrap_or(0),
                off_hours_floor: if only_hours { off_hours_replicas.unwrap_or(0) } else { 0 },
                warm_up,
                spread: Schedule::spread_of(warm_up, name),
                after: None,
                keep_awake_until: None,
            }))),
            (None, None) => of_workload.filter(|given| *given).map(|_| TriggerSchedule::OfWorkload),
            _ => {
                self.problems
                    .push(Problem::Contradiction("trigger metadata needs hours and timezone together".to_owned()));
                None
            }
        }
    }

    fn traffic(&mut self, namespace: &str) -> Option<Traffic> {
        let workload = self.named(WORKLOAD, |v| {
            v.parse::<WorkloadRef>()
                .map_err(|_| "a workload of this namespace, such as \"deployment/task-api\"".to_owned())
        });
        let service = self.named(SERVICE, |v| {
            value::object_name(v)
                .map_err(|_| "the name of a Service in this namespace, such as \"task-api\"".to_owned())
        });
        let clusters = self.named(CLUSTERS, cluster_names);
        let service = service.map(|name| Traffic::Service(ServiceId { namespace: namespace.to_owned(), name }));
        let mut given =
            [workload.map(|w| Traffic::Workload(w.within(namespace))), service, clusters.map(Traffic::Clusters)]
                .into_iter()
                .flatten();
        let first = given.next();
        if given.next().is_some() {
            let message =
                format!("trigger metadata has more than one of {WORKLOAD}, {SERVICE} and {CLUSTERS}: keep one");
            self.problems.push(Problem::Contradiction(message));
        }
        first
    }

    fn check(
        &mut self,
        targets: &[Target],
        query: Option<&String>,
        kafka: Option<&KafkaIntent>,
        traffic: Option<&Traffic>,
    ) {
        if !self.problems.is_empty() {
            return;
        }
        let has_query_target = targets.iter().any(|target| target.signal == Signal::PrometheusQuery);
        let has_lag = targets.iter().any(|target| target.signal.family() == Family::Kafka);
        let seconds = targets.iter().any(|target| target.signal == Signal::KafkaLagSeconds);
        let message = if targets.is_empty() && query.is_none() {
            let keys: Vec<_> = Signal::ALL.into_iter().filter_map(Signal::target_key).map(Key::camel_case).collect();
            format!("trigger metadata has no target: give at least one of {}", keys.join(", "))
        } else if has_query_target != query.is_some() {
            "trigger metadata needs prometheusQuery and prometheusTarget together".to_owned()
        } else if has_lag != kafka.is_some() {
            "trigger metadata needs kafkaLag (or kafkaLagSeconds) and kafkaGroup together".to_owned()
        } else if seconds && !matches!(traffic, Some(Traffic::Workload(_))) {
            format!("trigger metadata has kafkaLagSeconds, which needs {WORKLOAD}: whose replicas read")
        } else if traffic.is_none() && targets.iter().any(|target| target.signal.family() == Family::Traffic) {
            format!(
                "trigger metadata does not say whose traffic counts: give {SERVICE} (a Service of this namespace) or {CLUSTERS}"
            )
        } else {
            return;
        };
        self.problems.push(Problem::Contradiction(message));
    }

    fn check_model(&mut self, targets: &[Target], model: Option<&String>, traffic: Option<&Traffic>) {
        let of_workload = matches!(traffic, Some(Traffic::Workload(_)));
        let has = |family| targets.iter().any(|target| target.signal.family() == family);
        let message = if has(Family::ModelServers) && !of_workload {
            format!("trigger metadata has queuePerReplica or kvCache, which need {WORKLOAD}: whose pods are asked")
        } else if has(Family::Tokens) && model.is_none() && !of_workload {
            format!("trigger metadata does not say whose tokens count: give model, or {WORKLOAD}")
        } else {
            return;
        };
        self.problems.push(Problem::Contradiction(message));
    }
}

/// Each once and in order: the same names are the same traffic, however they are written.
fn cluster_names(value: &str) -> Result<Vec<String>, String> {
    let names: BTreeSet<_> = value.split(',').map(str::trim).collect();
    if names.len() <= 100 && names.iter().all(|name| !name.is_empty() && name.len() <= 1024) {
        Ok(names.into_iter().map(ToOwned::to_owned).collect())
    } else {
        Err("1 to 100 names of Envoy clusters, separated by commas".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::workload::WorkloadKind;

    fn metadata(pairs: &[(&str, &str)]) -> HashMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    fn problems(pairs: &[(&str, &str)]) -> Vec<String> {
        Trigger::parse("shop", &metadata(pairs)).unwrap_err().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_hand_written_trigger_names_a_service_or_clusters() {
        let trigger = Trigger::parse(
            "shop",
            &metadata(&[("scalerAddress", "tidegate:9090"), ("service", "task-api"), ("requestsPerSecond", "100")]),
        );
        let service = ServiceId { namespace: "shop".into(), name: "task-api".into() };
        assert_eq!(trigger.unwrap().traffic, Some(Traffic::Service(service)));
        let trigger = Trigger::parse("shop", &metadata(&[("clusters", "a, b"), ("concurrency", "4")])).unwrap();
        assert_eq!(trigger.traffic, Some(Traffic::Clusters(vec!["a".into(), "b".into()])));
    }

    #[test]
    fn a_key_that_keda_resolved_from_the_environment_keeps_its_suffix() {
        let trigger =
            Trigger::parse("shop", &metadata(&[("serviceFromEnv", "api"), ("requestsPerSecondFromEnv", "7")]));
        assert_eq!(trigger.unwrap().targets[0].per_replica.get(), 7.0);
    }

    #[test]
    fn bad_metadata_names_the_key() {
        assert_eq!(
            problems(&[("service", "api"), ("requestPerSecond", "100")]),
            [
                "trigger metadata has no target: give at least one of requestsPerSecond, concurrency, connections, kafkaLag, \
                 kafkaLagSeconds, inputTokensPerSecond, outputTokensPerSecond, queuePerReplica, kvCache, prometheusTarget",
                "trigger metadata has no key requestPerSecond; did you mean requestsPerSecond?"
            ]
        );
        assert_eq!(
            problems(&[("service", "api"), ("requestsPerSecond", "-1")]),
            ["requestsPerSecond: got \"-1\", wants a number from 0.001 to 1e12, such as \"100\""]
        );
        assert_eq!(
            problems(&[("requestsPerSecond", "1")]),
            [
                "trigger metadata does not say whose traffic counts: give service (a Service of this namespace) or clusters"
            ]
        );
        assert_eq!(
            problems(&[("requestsPerSecond", "1"), ("service", "a"), ("clusters", "b")]),
            ["trigger metadata has more than one of workload, service and clusters: keep one"]
        );
        assert_eq!(
            problems(&[("kafkaLag", "10")]),
            ["trigger metadata needs kafkaLag (or kafkaLagSeconds) and kafkaGroup together"]
        );
        assert_eq!(
            problems(&[("prometheusQuery", "sum(x)")]),
            ["trigger metadata needs prometheusQuery and prometheusTarget together"]
        );
        let endless = problems(&[("prometheusQuery", &"x".repeat(10_001)), ("prometheusTarget", "1")]);
        assert!(endless[0].ends_with("wants a PromQL query of 1 to 10000 bytes"), "{endless:?}");
    }

    #[test]
    fn clusters_in_another_order_or_named_twice_are_the_same_traffic() {
        let of = |clusters| {
            Trigger::parse("shop", &metadata(&[("clusters", clusters), ("concurrency", "4")])).unwrap().traffic
        };
        assert_eq!(of("b,a"), of("a, b ,a,b"));
    }

    #[test]
    fn a_text_without_end_costs_nothing_and_its_error_says_how_long_it_may_be() {
        let endless = "x".repeat(200_000);
        for key in ["timezone", "hours", "requestsPerSecond", "prometheusQuery", "clusters", "workload", "kafkaTopics"]
        {
            let told = problems(&[(key, &endless), ("concurrency", "4")]);
            let length = told.iter().find(|problem| problem.contains("wants at most 10240 bytes, not 200000"));
            assert!(length.is_some(), "{key}: {told:?}");
        }
        assert_eq!(Key::nearest_camel_case(&endless, &[Key::Hours]), None);
    }

    #[test]
    fn of_thousands_of_unknown_keys_a_few_are_told() {
        let keys: Vec<String> = (0..20_000).map(|n| format!("key{n}")).collect();
        let pairs: Vec<_> = keys.iter().map(|key| (key.as_str(), "1")).collect();
        assert!(problems(&pairs).len() < 25);
    }

    proptest! {
        #[test]
        fn what_the_operator_writes_is_read_back(rps in 0.001f64..1e12, concurrency in proptest::option::of(0.001f64..1e12)) {
            let per_replica = |value| PerReplica::new(value).unwrap();
            let mut targets = vec![Target { signal: Signal::RequestsPerSecond, per_replica: per_replica(rps) }];
            targets.extend(concurrency.map(|c| Target { signal: Signal::Concurrency, per_replica: per_replica(c) }));
            let workload = WorkloadRef { kind: WorkloadKind::Deployment, name: "task-api".into() };
            let written: HashMap<_, _> =
                Trigger::metadata(&targets, None, None, None, &workload).into_iter().map(|(k, v)| (k.to_owned(), v)).collect();
            let read = Trigger::parse("shop", &written).unwrap();
            prop_assert_eq!(read.targets, targets);
            prop_assert_eq!(read.traffic, Some(Traffic::Workload(workload.within("shop"))));
        }

        #[test]
        fn no_metadata_panics(pairs in proptest::collection::hash_map(".{0,30}", ".{0,50}", 0..5)) {
            let _ = Trigger::parse("shop", &pairs);
        }
    }
}
