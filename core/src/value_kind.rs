//! The kinds of value that keys take, and how each is described: in errors and in `docs/reference/annotations.md`.

macro_rules! kinds {
    ($($kind:ident $wanted:literal;)*) => {
        /// The kind of value that a key takes.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum ValueKind { $(#[doc = $wanted] $kind,)* }

        impl ValueKind {
            /// Description of a valid value, to follow the word "wants".
            pub fn wanted(self) -> &'static str {
                match self { $(Self::$kind => $wanted,)* }
            }
        }
    };
}

kinds! {
    Replicas "a whole number of replicas from 0 to 2147483647";
    MaxReplicas "a whole number of replicas from 1 to 2147483647";
    PerReplica "a number from 0.001 to 1e12, such as \"100\"";
    KvCacheShare "a part of the KV cache from 0.001 to 1, such as \"0.8\"";
    StartupTime "a time from 1s to 24h, such as \"3m\"";
    Window "a time in whole seconds from 0s to 1h, such as \"5m\"";
    Rates "changes per time, such as \"50%/1m\" or \"4/30s,100%/30s\": percent or a number of replicas, in whole seconds from 1s to 30m";
    Tolerance "a share from 0% to 100%, such as \"10%\"";
    Cpu "a share of the request such as \"70%\", or cores per replica such as \"500m\"";
    Memory "a share of the request such as \"80%\", or an amount per replica such as \"512Mi\"";
    Formula "an expression over the names of metrics, such as \"requests_per_second + 5 * kafka_lag\"";
    Amount "a whole number, such as \"10\"";
    KedaTriggers "a list of KEDA's triggers as YAML or JSON";
    WarmUp "a time from 0s to 24h, such as \"10m\"";
    HoldTimeout "a time from 1s to 10m, such as \"60s\"";
    ZeroAfter "a time in whole seconds from 0s to 24h, such as \"15m\"";
    WakeIgnore "what wakes nothing, such as \"path=/metrics,user-agent=MyProbe\"";
    WakeLimit "a number of times per time, such as \"10/h\" or \"3/10m\"";
    StuckAfter "a time from 30s to 7days, such as \"10m\"";
    Boolean "\"true\" or \"false\"";
    Topics "topic names separated by commas, of letters, digits, dots, dashes and underscores, or patterns between slashes, such as \"/orders-.*/\"";
    Partitions "partitions such as \"1,3-5\"";
    NoOffset "earliest, latest, zero or hold";
    PartitionCap "true, false or with-lag";
    Messages "a whole number of messages, such as \"100\"";
    Text "a text that is not empty";
    Query "a PromQL query of 1 to 10000 bytes";
    ObjectName "a name of lower-case letters, digits, dashes and dots";
    Workload "deployment/NAME, statefulset/NAME or another KIND/NAME that is scaled, of the same namespace";
    Scaler "hpa/NAME or scaledobject/NAME, of the same namespace";
    Hours "OpenStreetMap opening hours, such as \"Mo-Fr 08:00-18:00\"";
    TimeZone "an IANA time zone, such as \"Europe/Berlin\"";
    Instant "a time as RFC 3339 writes it, such as \"2026-03-02T18:00:00+01:00\"";
    Manage "\"all\", or with the kinds that it does not name by itself \"all,cronjobs,daemonsets\"";
}
