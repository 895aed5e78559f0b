//! The metrics that Tidegate serves on `/metrics`: the table of their names, from which they are registered and
//! `docs/reference/metrics.md` is made. Names follow Prometheus' conventions: base units, `_total` on counters.

use prometheus_client::registry::{self, Registry, Unit};

/// The type of a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricKind {
    /// Only grows, until the process starts again
    Counter,
    /// Goes up and down
    Gauge,
    /// Counts observations in buckets
    Histogram,
}

impl MetricKind {
    /// The name of the type in the text format.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

macro_rules! metrics {
    ($($metric:ident $stem:literal $unit:literal $kind:ident [$($label:literal)*] $help:literal;)*) => {
        /// A metric that Tidegate serves.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Metric { $(#[doc = $help] $metric,)* }

        impl Metric {
            /// All metrics, in the order of the documentation.
            pub const ALL: &[Self] = &[$(Self::$metric,)*];

            /// The name without its unit and `_total`, which the encoder appends.
            pub fn stem(self) -> &'static str {
                match self { $(Self::$metric => $stem,)* }
            }

            /// The unit, as it appears in the name; empty for a plain number.
            pub fn unit(self) -> &'static str {
                match self { $(Self::$metric => $unit,)* }
            }

            /// The type.
            pub fn kind(self) -> MetricKind {
                match self { $(Self::$metric => MetricKind::$kind,)* }
            }

            /// The names of the labels.
            pub fn labels(self) -> &'static [&'static str] {
                match self { $(Self::$metric => &[$($label),*],)* }
            }

            /// The description, as in `# HELP`.
            pub fn help(self) -> &'static str {
                match self { $(Self::$metric => $help,)* }
            }
        }
    };
}

metrics! {
    WorkloadDemand "tidegate_workload_demand" "" Gauge ["namespace" "kind" "name" "signal"]
        "Demand, in the signal's unit; absent while it is unknown";
    WorkloadDemandAge "tidegate_workload_demand_age" "seconds" Gauge ["namespace" "kind" "name" "signal"]
        "Time since the oldest measurement in the demand";
    WorkloadTarget "tidegate_workload_target" "" Gauge ["namespace" "kind" "name" "signal"]
        "What one replica carries, in the signal's unit";
    WorkloadDesiredReplicas "tidegate_workload_desired_replicas" "" Gauge ["namespace" "kind" "name"]
        "Replicas that the demand needs, within the bounds, before the HPA's stabilisation";
    WorkloadProblems "tidegate_workload_problems" "" Gauge ["reason"]
        "Workloads, Gateways and Calendars with something wrong, by the reason of the Warning event, on the replica that writes";
    OperatorWorkloads "tidegate_operator_workloads" "" Gauge []
        "Workloads that Tidegate scales";
    OperatorLeading "tidegate_operator_leading" "" Gauge []
        "1 on the replica that writes";
    OperatorScaledObjectWrites "tidegate_operator_scaledobject_writes" "" Counter ["outcome"]
        "ScaledObjects applied or deleted, by outcome: success, error";
    OperatorEvents "tidegate_operator_events" "" Counter []
        "Events written for the owners of workloads";
    OperatorBursts "tidegate_operator_bursts" "" Counter []
        "Times that replicas were added at once, before the HPA's next look";
    OperatorPlans "tidegate_operator_plans" "" Counter []
        "Plans that were made because an object changed";
    OperatorPlanDuration "tidegate_operator_plan_duration" "seconds" Histogram []
        "Time to make a Plan";
    ScalerRpcs "tidegate_scaler_rpcs" "" Counter ["method" "code"]
        "Calls by KEDA, by method and gRPC code; of streams, that they were opened";
    ScalerRpcDuration "tidegate_scaler_rpc_duration" "seconds" Histogram ["method"]
        "Time to make an answer, without the network";
    ScalerOpenStreams "tidegate_scaler_open_streams" "" Gauge ["method"]
        "Streams to KEDA that are open now";
    ScalerTlsFilesBad "tidegate_scaler_tls_files_bad" "" Gauge []
        "1 while the certificate's files are invalid and the last valid certificate is served";
    SourceScrapes "tidegate_source_scrapes" "" Counter ["result"]
        "Answers of proxies, by result";
    SourceScrapeDuration "tidegate_source_scrape_duration" "seconds" Histogram []
        "Time until a proxy had answered";
    SourceScraped "tidegate_source_scraped" "bytes" Counter []
        "Bytes that proxies answered";
    SourceQueries "tidegate_source_queries" "" Counter ["what" "result"]
        "Answers of Prometheus, by what was asked and result";
    SourceQueryDuration "tidegate_source_query_duration" "seconds" Histogram []
        "Time until Prometheus had answered";
    SourceProxies "tidegate_source_proxies" "" Gauge ["state"]
        "Proxies by state: answering, failing, new";
    SourceClusters "tidegate_source_clusters" "" Gauge []
        "Envoy clusters whose signals are kept";
    SourceRounds "tidegate_source_rounds" "" Counter []
        "Rounds of measuring";
    SourceSignalsAge "tidegate_source_signals_age" "seconds" Gauge []
        "Age of the newest sample after the last round; grows while no source answers";
    SourceKafkaSweepDuration "tidegate_source_kafka_sweep_duration" "seconds" Histogram ["cluster"]
        "Time for one sweep of a Kafka cluster";
    SourceKafkaLags "tidegate_source_kafka_lags" "" Gauge ["cluster" "state"]
        "Lags by Kafka cluster and state: known, failing";
    SourceTokenSenders "tidegate_source_token_senders" "" Gauge []
        "AI gateways that count tokens";
    SourceModels "tidegate_source_models" "" Gauge []
        "Models whose tokens are measured, by all their names";
    SourceTokensRefused "tidegate_source_tokens_refused" "" Counter ["reason"]
        "Models that were reported and are not measured, by reason: unwanted, too_many";
    SourceOtlpPoints "tidegate_source_otlp_points" "" Counter ["result"]
        "Points of OTLP senders, by result: ok, late, duplicate, malformed, too_many, unknown_sender";
    SourceOtlpPassedOn "tidegate_source_otlp_passed_on" "" Counter ["result"]
        "OTLP calls passed on to other pods, by result: ok, failed, dropped";
    ActivatorInHand "tidegate_activator_in_hand" "" Gauge ["what"]
        "Requests and raw connections that wait for a pod or are passed on, by what: requests, connections";
    ActivatorOutcomes "tidegate_activator_outcomes" "" Counter ["what" "outcome"]
        "Requests and raw connections by outcome: passed_on, failed, timed_out, gone, full, closed, wake_limit, probe, stopping";
    ActivatorHoldDuration "tidegate_activator_hold_duration" "seconds" Histogram []
        "Time that requests and raw connections waited until a pod had accepted a connection";
    ActivatorConnectFailures "tidegate_activator_connect_failures" "" Counter []
        "Connections that a ready pod did not accept, and that were tried again";
    ActivatorClientsRefused "tidegate_activator_clients_refused" "" Counter []
        "Connections of clients that were closed at once because there were too many";
    ActivatorPorts "tidegate_activator_ports" "" Gauge ["state"]
        "Ports of doors by state: listening, failing";
    ActivatorPeerReports "tidegate_activator_peer_reports" "" Counter ["result"]
        "Reports of what is held, to other pods by result: ok, failed; and from them: received, refused";
    SavedReplica "tidegate_saved_replica" "seconds" Counter ["namespace"]
        "Replica-seconds that schedules and scale to zero saved";
    SavedCpuCore "tidegate_saved_cpu_core" "seconds" Counter ["namespace"]
        "Requested CPU, in core-seconds, that schedules and scale to zero saved";
    SavedMemoryByte "tidegate_saved_memory_byte" "seconds" Counter ["namespace"]
        "Requested memory, in byte-seconds, that schedules and scale to zero saved";
}

impl Metric {
    /// The full name of its samples: `tidegate_scaler_rpcs_total`. A histogram appends `_bucket`, `_sum` and `_count`.
    pub fn name(self) -> String {
        let unit = if self.unit().is_empty() { String::new() } else { format!("_{}", self.unit()) };
        let total = if self.kind() == MetricKind::Counter { "_total" } else { "" };
        format!("{}{unit}{total}", self.stem())
    }
}

/// Registers a metric under the name, unit and help of the table.
pub fn register(registry: &mut Registry, metric: Metric, measured: impl registry::Metric) {
    match unit(metric) {
        Some(unit) => registry.register_with_unit(metric.stem(), metric.help(), unit, measured),
        None => registry.register(metric.stem(), metric.help(), measured),
    }
}

/// The unit of a metric, as the encoder wants it; `None` for a plain number.
pub fn unit(metric: Metric) -> Option<Unit> {
    (!metric.unit().is_empty()).then(|| Unit::Other(metric.unit().to_owned()))
}
