//! The metadata of a ScaledObject's trigger: the contract between the ScaledObject and the scaler.
//!
//! The operator writes it, and people do by hand; both are served alike. It contains everything that decides the HPA's targets, for
//! two reasons: KEDA re-reads targets only when the ScaledObject changes, and `GetMetricSpec` must be answered whatever else is
//! broken (KEDA's fallback never fires when it fails, kedacore/keda#8056).

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use crate::{
    calendar::Calendar,
    ids::ServiceId,
    intent::Intent,
    kafka::KafkaIntent,
    key::Key,
    problem::{Problem, shortened},
    schedule::Schedule,
    signal::{Family, PerReplica, Signal, Target},
    value::{self, ReadKeys, Wanted},
    workload::{WorkloadId, WorkloadRef},
};

/// The key that names the workload whose traffic is measured; written by the operator.
pub const WORKLOAD: &str = "workload";
/// The key that names the Service whose traffic is measured.
pub const SERVICE: &str = "service";
/// The key that names Envoy clusters directly, separated by commas.
pub const CLUSTERS: &str = "clusters";

/// The key that makes the workload's own hours apply; written by the operator. The hours themselves are not in the metadata, so
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

/// The intent of one trigger.
#[derive(Debug, Clone, PartialEq)]
pub struct Trigger {
    /// The namespace of its ScaledObject
    pub namespace: String,
    /// The signals that decide; never empty
    pub targets: Vec<Target>,
    /// The traffic that is measured; `None` when no target is about traffic
    pub traffic: Option<Traffic>,
    /// The PromQL of [`Signal::PrometheusQuery`]
    pub query: Option<String>,
    /// The group of [`Signal::KafkaLag`] and [`Signal::KafkaLagSeconds`]
    pub kafka: Option<KafkaIntent>,
    /// The model of [`Signal::InputTokens`] and [`Signal::OutputTokens`], if the trigger names one
    pub model: Option<String>,
    /// The hours that apply, if any
    pub schedule: Option<TriggerSchedule>,
}

/// The hours that apply.
#[derive(Debug, Clone, PartialEq)]
pub enum TriggerSchedule {
    /// The workload's hours, from its annotations
    OfWorkload,
    /// The trigger's own hours
    Own(Arc<Schedule>),
}

/// The traffic that is measured.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Traffic {
    /// The traffic that reaches a workload
    Workload(WorkloadId),
    /// The traffic that reaches a Service, regardless of the workloads behind it
    Service(ServiceId),
    /// The traffic of these Envoy clusters
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

    /// Turns the intent of a workload's annotations into the trigger of its ScaledObject.
    pub fn of_workload(id: &WorkloadId, intent: &Intent) -> Self {
        let has_hours = intent.targets.iter().any(|target| target.signal == Signal::Schedule);
        Self {
            namespace: id.namespace.clone(),
            targets: intent.targets.clone(),
            traffic: Some(Traffic::Workload(id.clone())),
            query: intent.query.clone(),
            kafka: intent.kafka.as_deref().cloned(),
            model: intent.model.as_ref().and_then(|model| model.name.clone()),
            schedule: has_hours.then_some(TriggerSchedule::OfWorkload),
        }
    }

    /// One trigger for each signal of this one: a formula of KEDA's reads triggers, not metrics.
    pub fn split(&self) -> impl Iterator<Item = (Signal, Self)> {
        self.targets.iter().map(|target| (target.signal, self.of(*target)))
    }

    fn of(&self, target: Target) -> Self {
        let is = |family| target.signal.family() == family;
        Self {
            namespace: self.namespace.clone(),
            targets: vec![target],
            traffic: self.traffic.clone(),
            query: self.query.clone().filter(|_| is(Family::Query)),
            kafka: self.kafka.clone().filter(|_| is(Family::Kafka)),
            model: self.model.clone().filter(|_| is(Family::Tokens) || is(Family::ModelServers)),
            schedule: self.schedule.clone().filter(|_| is(Family::Schedule)),
        }
    }

    /// The inverse of [`Self::parse`], less the scaler's address. Keys in alphabetical order.
    pub fn metadata(&self) -> Vec<(&'static str, String)> {
        let Self { namespace: _, targets, traffic, query, kafka, model, schedule } = self;
        let target = |target: &Target| Some((target.signal.target_key()?.camel_case(), target.per_replica.to_string()));
        let mut metadata: Vec<_> = targets.iter().filter_map(target).collect();
        metadata.extend(query.iter().map(|query| (Key::PrometheusQuery.camel_case(), query.clone())));
        metadata.extend(kafka.iter().flat_map(KafkaIntent::metadata));
        metadata.extend(model.iter().map(|model| (Key::Model.camel_case(), model.clone())));
        metadata.extend(traffic.iter().map(Traffic::metadata));
        metadata.extend(schedule.iter().flat_map(TriggerSchedule::metadata));
        metadata.sort();
        metadata
    }
}

impl Traffic {
    fn metadata(&self) -> (&'static str, String) {
        match self {
            Self::Workload(WorkloadId { namespace: _, kind, name }) => {
                (WORKLOAD, WorkloadRef { kind: *kind, name: name.clone() }.to_string())
            }
            Self::Service(ServiceId { namespace: _, name }) => (SERVICE, name.clone()),
            Self::Clusters(names) => (CLUSTERS, names.join(",")),
        }
    }
}

impl TriggerSchedule {
    /// Whether the hours may ask for replicas. Hours of a trigger's own that are only a cap make no metric beside its others: it
    /// would always be 0, and in a ScaledJob KEDA divides by the mean of the targets of all metrics of a trigger
    /// (`pkg/scaling/scaledjob/metrics.go`).
    fn may_have_floor(&self) -> bool {
        match self {
            Self::OfWorkload => true,
            Self::Own(schedule) => schedule.floor > 0 || schedule.off_hours_floor > 0,
        }
    }

    fn metadata(&self) -> Vec<(&'static str, String)> {
        let Self::Own(schedule) = self else { return vec![(SCHEDULE, true.to_string())] };
        let keys = [
            (Key::Hours, schedule.calendar.hours.to_string()),
            (Key::Timezone, schedule.calendar.zone.name().to_owned()),
            (Key::OffHoursReplicas, schedule.off_hours_replicas.to_string()),
            (Key::WarmUp, humantime::format_duration(schedule.warm_up).to_string()),
            (Key::MinReplicas, schedule.floor.to_string()),
        ];
        keys.into_iter().map(|(key, value)| (key.camel_case(), value)).collect()
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

/// Maximum number of unknown keys that are reported: nobody reads more of them.
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
        if schedule.as_ref().is_some_and(|schedule| targets.is_empty() || schedule.may_have_floor()) {
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

/// Parses cluster names, without duplicates and in order: the same names are the same traffic, however they are written.
fn cluster_names(value: &str) -> Result<Vec<String>, String> {
    let names: BTreeSet<_> = value.split(',').map(str::trim).collect();
    if names.len() <= 100 && names.iter().all(|name| !name.is_empty() && name.len() <= 1024) {
        Ok(names.into_iter().map(ToOwned::to_owned).collect())
    } else {
        Err("1 to 100 names of Envoy clusters, separated by commas".to_owned())
    }
}

#[cfg(test)]
mod tests;
