//! The events that Tidegate writes: the table of their reasons, from which `docs/reference/events.md` is made.

use std::{fmt::Display, hash::Hash};

/// The kinds of object that events are about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum About {
    /// A Deployment or StatefulSet, and its Namespace for the mistakes there
    Workload,
    /// A Gateway
    Gateway,
    /// A ScaledObject of another owner, a CronJob or a DaemonSet that is switched by hours
    Switched,
    /// An EnvoyProxy
    EnvoyProxy,
    /// A Calendar
    Calendar,
}

impl About {
    /// All of them, in the order of the documentation.
    pub const ALL: [Self; 5] = [Self::Workload, Self::Gateway, Self::Switched, Self::EnvoyProxy, Self::Calendar];
}

/// The severity of an event, and whether it is delayed before it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    /// Worth knowing
    Normal,
    /// Something is wrong
    Warning,
    /// Something is wrong, but often for a moment only, while objects are still being applied
    Passing,
}

macro_rules! reasons {
    ($($reason:ident $class:ident [$($about:ident),+] $meaning:literal $remedy:literal;)*) => {
        /// Why an event is written: the `reason` that `kubectl describe` shows.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Reason { $(#[doc = $meaning] $reason,)* }

        impl Reason {
            /// All reasons, in the order of the documentation.
            pub const ALL: &[Self] = &[$(Self::$reason,)*];

            /// The reason as events carry it.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$reason => stringify!($reason),)* }
            }

            /// The kinds of object that carry it.
            pub fn about(self) -> &'static [About] {
                match self { $(Self::$reason => &[$(About::$about),+],)* }
            }

            /// The meaning, as one line of Markdown.
            pub fn meaning(self) -> &'static str {
                match self { $(Self::$reason => $meaning,)* }
            }

            /// The remedy, as one line of Markdown; empty where none is needed.
            pub fn remedy(self) -> &'static str {
                match self { $(Self::$reason => $remedy,)* }
            }

            fn class(self) -> Class {
                match self { $(Self::$reason => Class::$class,)* }
            }
        }
    };
}

reasons! {
    InvalidAnnotations Warning [Workload, Gateway, Switched]
        "An annotation is wrong: which key, what it has, and what is expected. What was applied before still applies, hours included"
        "Correct the annotation; `tidegate render -f FILE` checks it beforehand";
    Misplaced Warning [Workload, Gateway, Switched]
        "An annotation of Tidegate stands where nothing reads it: on a pod template, on a DaemonSet or CronJob that its Namespace does not manage, or with a prefix such as `tidegate.io/`"
        "Move it to `metadata.annotations` of a workload, a Gateway or a Namespace, as the text says";
    NoSignal Warning [Workload, Gateway]
        "It is annotated, but nothing says when to scale"
        "Add what one replica carries, such as `requests-per-second`, or `hours`";
    NoRoute Passing [Workload]
        "No route that a Gateway accepts leads to it, and what is wrong with those that name its Services; replicas stay as they are"
        "Correct what the text names; `tidegate routes` lists all that is not followed";
    NoModel Passing [Workload]
        "No AIGatewayRoute leads to it and `model` names none: only the metrics of its own pods are used"
        "Add an AIGatewayRoute, or name the model";
    NotMeasured Passing [Workload]
        "Its traffic is unknown: no proxy shows one of its clusters, or Envoy Gateway has not accepted a route: replicas are held. Or it asks for requests, and only TCPRoutes or TLSRoutes lead to it, of which Envoy counts the connections"
        "Look at the status of its routes, at `telemetry.metrics.matches` of the EnvoyProxy, and at `tidegate explain`; ask for `connections` behind a TCPRoute or TLSRoute";
    SignalMissing Passing [Workload]
        "Kafka's lag, a query's answer, a model server's metrics or the tokens of answers are unknown, and why. The last value is used for `--stale-after`, then replicas are held"
        "The text names the source and its error";
    AboveMaximum Warning [Workload]
        "Demand has asked for more than `max-replicas` for `--above-maximum-after` (5 min)"
        "Raise `max-replicas`, or accept that requests wait";
    ZeroNeedsWakeSignal Warning [Workload]
        "`min-replicas` is 0, but nothing could wake it from zero, and why requests cannot: one replica is kept"
        "The text says what to change: the chart's `activator.enabled`, a Service, a signal such as `kafka-lag`";
    NoReadinessProbe Warning [Workload]
        "It may go to zero, and no container of its pods has a readiness or startup probe: Kubernetes takes a pod for ready before it listens, and requests that the proxies send to it then are answered 503"
        "Add a `readinessProbe` to the container that serves";
    RequestsNotHeld Warning [Workload]
        "It may go to zero, but its requests cannot be led to the activator, and why: it keeps its last replica"
        "The text says what to change";
    HoldMayTimeOut Warning [Workload]
        "A request that wakes it is ended before a pod is ready: a time-out of its route, or `hold-timeout`, is shorter than its last start took; or the route's is shorter than the `hold-timeout` of the annotations"
        "Set the field that the text names";
    HeldRequestsRefused Warning [Workload]
        "Requests were held for as long as `hold-timeout` and then answered 503, and why: what keeps its pods from getting ready, or which ready pod accepts no connections from Tidegate"
        "The text says what to look at: an image, a crash, a quota, a NetworkPolicy";
    WakeLimitReached Warning [Workload]
        "Requests were answered 503 because `wake-limit` binds: how many, since when, and when one may wake it again"
        "Raise the limit; or name what should not wake it in `wake-ignore`";
    NoHolidays Warning [Workload, Calendar]
        "The hours mention `PH`, but no holidays are known"
        "Use a Calendar with `spec.holidays`";
    NothingToWaitFor Warning [Workload]
        "`after` names a workload that does not exist"
        "Correct the name, or remove `after`";
    NoEffect Warning [Workload, Gateway, Calendar]
        "A value is valid but changes nothing: hours that do not open within a year, `off-hours-replicas` above `max-replicas`, `after` in a circle, overrides that ended a day ago or more, `tolerance` where HPAs take none"
        "Correct or remove it";
    NotMeasurable Warning [Workload]
        "It is to be scaled on CPU or memory, but a container has no request of it, or the container that is named does not exist"
        "Add `resources.requests`, or name the container that counts in `container`";
    PausedByHours Normal [Workload]
        "KEDA's own triggers stand beside its hours, which cannot clamp them: outside hours its ScaledObject is paused at `off-hours-replicas`" "";
    ScaledBySomethingElse Warning [Workload]
        "An HPA targets it; or a ScaledObject does, and it asks for more than hours. Nothing is done"
        "Take it over with `adopt`, or delete it, or ask for hours only, or set `paused`";
    CannotTakeOver Warning [Workload]
        "`adopt` names a scaler that cannot be taken over without a gap, and why. Nothing is done"
        "The text gives the command to run first";
    NameTaken Warning [Workload]
        "A ScaledObject of somebody else has the name that Tidegate would use. Nothing is done"
        "Rename that ScaledObject";
    OfAnotherRelease Warning [Workload]
        "Its ScaledObject belongs to another release of Tidegate"
        "Let only one release watch this namespace, or change the label `tidegate.dev/release`";
    ScaledObjectRefused Warning [Workload]
        "The API server refused the ScaledObject, and its answer"
        "The text says what is missing: a permission, KEDA, a valid field";
    Understood Normal [Workload]
        "Its annotations are right: the signals that it is scaled on and where they come from, what one replica carries, and the bounds. Written again when that changes" "";
    Adopted Normal [Workload]
        "Somebody set its replicas inside hours: this is the number that it returns to from now on" "";
    TookOver Normal [Workload]
        "The HPA or ScaledObject that `adopt` names is Tidegate's from now on; its HPA goes on" "";
    Stopped Normal [Workload]
        "It had 0 replicas when it was found: it stays so until somebody scales it" "";
    GivesBack Normal [Workload]
        "It is no longer Tidegate's: KEDA restores the replicas that it had, then its ScaledObject is deleted" "";
    Paused Normal [Workload, Gateway]
        "`paused` is `true`: everything is left as it is" "";
    GaveEnvoyProxy Normal [Gateway]
        "`create-envoyproxy` is `true`: an EnvoyProxy was created for it, and named in its `spec.infrastructure.parametersRef`" "";
    ScaledProxies Normal [Gateway]
        "The number of proxies was changed: from, to, and why" "";
    NoEnvoyProxy Passing [Gateway]
        "No EnvoyProxy holds its number of proxies"
        "Apply the EnvoyProxy that the text gives, or set `create-envoyproxy`";
    MissingEnvoyProxy Passing [Gateway]
        "The EnvoyProxy that it names does not exist"
        "Apply it, or correct the name";
    DaemonSet Warning [Gateway]
        "Its EnvoyProxy has `envoyDaemonSet`, one proxy per node: there is nothing to scale"
        "Use `envoyDeployment`, or remove the annotations";
    HpaDecides Warning [Gateway]
        "Its EnvoyProxy has `envoyHpa`, which decides; only its bounds follow the annotations"
        "Remove `envoyHpa` to scale on signals";
    HpaKeepsOne Warning [Gateway]
        "`off-hours-replicas` is 0, but an HPA keeps at least 1"
        "Remove `envoyHpa`, or ask for 1";
    ZeroOnlyOutsideHours Warning [Gateway]
        "`min-replicas` is 0, but without a proxy no request could arrive to wake one: 1 is kept"
        "Use `off-hours-replicas: \"0\"`";
    SharedEnvoyProxy Warning [Gateway]
        "Gateways without annotations share its EnvoyProxy, so hours do not hold it down"
        "Annotate them too, or give this Gateway an EnvoyProxy of its own";
    Contradiction Warning [Gateway]
        "Gateways that share an EnvoyProxy ask for different things"
        "Give them the same annotations";
    EnvoyProxyRefused Warning [Gateway]
        "The API server refused a write, and its answer"
        "The text says what is missing: a permission, a valid field";
    Asleep Normal [Switched]
        "Outside its hours: how it was switched off, and until when" "";
    Awake Normal [Switched]
        "Inside its hours, and until when" "";
    SwitchRefused Warning [Switched]
        "The API server refused to switch it; it is left as it is"
        "The text says what is missing: a permission, a valid field";
    StatisticsLeftOut Warning [EnvoyProxy]
        "`telemetry.metrics` leaves out statistics that Tidegate reads"
        "Add the matchers that the text gives";
    Opened Normal [Calendar]
        "It has opened, and until when" "";
    Closed Normal [Calendar]
        "It has closed, and until when" "";
    Invalid Warning [Calendar]
        "Its spec is invalid: which field, what it has and what is expected. The last valid spec still applies"
        "Correct the field";
}

impl Reason {
    /// Whether it reports that something is wrong, rather than information.
    pub fn is_warning(self) -> bool {
        self.class() != Class::Normal
    }

    /// Whether the problem often lasts for a moment only, while objects are still being applied. Such an event is delayed before it
    /// is written.
    pub fn may_pass(self) -> bool {
        self.class() == Class::Passing
    }
}

/// A message to the owner of an object; `Display` gives the event's text.
pub trait Notice: Clone + Eq + Hash + Display {
    /// The reason of the event.
    fn reason(&self) -> Reason;
}
