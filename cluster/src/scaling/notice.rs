//! Notices to the owner of a workload: the reasons and texts of events.

use std::fmt;

use tidegate_core::{
    adopt::ScalerRef,
    beside::Unmeasurable,
    event::{Notice, Reason},
    gate::NotHeld,
    no_effect::NoEffect,
    only_connections::OnlyConnections,
    plan::RELEASE,
    problem::Problem,
    request_timeout::HoldTooShort,
    workload::WorkloadRef,
};

use crate::{Kind, Misplaced, lenient::Placeholder};

/// A notice to the owner of a workload.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum WorkloadNotice {
    /// An annotation is invalid
    InvalidAnnotations(Problem),
    /// Annotations that nothing reads where they are
    Misplaced(Misplaced),
    /// `tidegate.dev/paused` is `true`
    Paused,
    /// Annotated, but with nothing to scale on
    NoSignal,
    /// No route leads to it, and why
    NoRoute(String),
    /// It asks for requests, and only connections reach it
    OnlyConnections(OnlyConnections),
    /// No AI gateway counts its tokens
    NoModel,
    /// It is to open after a workload that does not exist, so nothing is waited for
    NothingToWaitFor(WorkloadRef),
    /// Its hours mention `PH`, and no holidays are known
    NoHolidays,
    /// A setting is accepted, but changes nothing
    NoEffect(NoEffect),
    /// The HPA probably cannot measure the CPU or memory that it is to be scaled on
    NotMeasurable(Unmeasurable),
    /// HPAs of this cluster take no tolerance of their own
    NoTolerance,
    /// Outside hours its ScaledObject is paused at this number of replicas, because of KEDA's triggers with these names
    PausedByHours(u32, String),
    /// Zero replicas are asked for, but nothing could wake it: why requests cannot
    ZeroNeedsWakeSignal(NotHeld),
    /// It may go to zero, and nothing says when its pods can serve
    NoReadinessProbe,
    /// A time-out of its route ends a held request before the time that its annotations give
    HoldMayTimeOut(Box<HoldTooShort>),
    /// Another object scales it: kind and name
    ScaledBySomethingElse(Kind, String),
    /// `tidegate.dev/adopt` names a scaler that cannot be taken over: why, and what to do
    CannotTakeOver(String),
    /// This scaler is Tidegate's from now on
    TookOver(ScalerRef),
    /// Its ScaledObject belongs to another release of Tidegate
    OfAnotherRelease {
        /// The ScaledObject's name
        name: String,
        /// The other release
        theirs: String,
        /// This release
        ours: String,
    },
    /// It had 0 replicas when it was found
    Stopped,
    /// It is no longer managed, and gets back this number of replicas
    GivesBack(u32),
    /// Its replicas were set inside hours: the number, and by whom
    Adopted(u32, String),
    /// An object that is not Tidegate's has the name that ours would have: kind and name
    NameTaken(Kind, String),
    /// The API server refused the ScaledObject
    Refused(String),
    /// What was understood of its annotations, as a sentence
    Understood(String),
}

impl Notice for WorkloadNotice {
    fn reason(&self) -> Reason {
        match self {
            Self::InvalidAnnotations(_) => Reason::InvalidAnnotations,
            Self::Misplaced(_) => Reason::Misplaced,
            Self::Paused => Reason::Paused,
            Self::NoSignal => Reason::NoSignal,
            Self::NoRoute(_) => Reason::NoRoute,
            Self::OnlyConnections(_) => Reason::NotMeasured,
            Self::NoModel => Reason::NoModel,
            Self::NothingToWaitFor(_) => Reason::NothingToWaitFor,
            Self::NoHolidays => Reason::NoHolidays,
            Self::NotMeasurable(_) => Reason::NotMeasurable,
            Self::NoEffect(_) | Self::NoTolerance => Reason::NoEffect,
            Self::PausedByHours(..) => Reason::PausedByHours,
            Self::ZeroNeedsWakeSignal(_) => Reason::ZeroNeedsWakeSignal,
            Self::NoReadinessProbe => Reason::NoReadinessProbe,
            Self::HoldMayTimeOut(_) => Reason::HoldMayTimeOut,
            Self::ScaledBySomethingElse(..) => Reason::ScaledBySomethingElse,
            Self::CannotTakeOver(_) => Reason::CannotTakeOver,
            Self::TookOver(_) => Reason::TookOver,
            Self::NameTaken(..) => Reason::NameTaken,
            Self::OfAnotherRelease { .. } => Reason::OfAnotherRelease,
            Self::Stopped => Reason::Stopped,
            Self::Adopted(..) => Reason::Adopted,
            Self::GivesBack(_) => Reason::GivesBack,
            Self::Refused(_) => Reason::ScaledObjectRefused,
            Self::Understood(_) => Reason::Understood,
        }
    }
}

impl WorkloadNotice {
    /// Whether something must be fixed before the workload can be scaled.
    pub fn is_error(&self) -> bool {
        matches!(
            self,
            Self::InvalidAnnotations(_)
                | Self::Misplaced(_)
                | Self::ScaledBySomethingElse(..)
                | Self::CannotTakeOver(_)
                | Self::NameTaken(..)
                | Self::OfAnotherRelease { .. }
        )
    }

    /// Whether a workload may have it only because it was applied before the Service, the route or the workload that it needs.
    pub fn may_be_early(&self) -> bool {
        matches!(
            self,
            Self::NoRoute(_)
                | Self::NoModel
                | Self::NothingToWaitFor(_)
                | Self::ZeroNeedsWakeSignal(NotHeld::NoService)
        )
    }
}

impl fmt::Display for WorkloadNotice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InvalidAnnotations(problem) => {
                let problem = problem.to_string();
                let placeholder = Placeholder::of(&problem).map(|placeholder| format!(". It is {placeholder}"));
                let placeholder = placeholder.unwrap_or_default();
                write!(f, "{problem}{placeholder} (what was applied before still applies until this is fixed)")
            }
            Self::Misplaced(what) => write!(f, "{what}"),
            Self::Paused => write!(f, "tidegate.dev/paused is true: the ScaledObject is left as it is"),
            Self::NoSignal => write!(
                f,
                "nothing says when to scale: add what one replica carries, for example tidegate.dev/requests-per-second: \"100\""
            ),
            Self::NoRoute(why) => write!(
                f,
                "no route reaches it: {why}. Replicas stay as they are until one does; `tidegate routes` shows what is followed, and \
                 what is not"
            ),
            Self::OnlyConnections(what) => write!(f, "{what}"),
            Self::NoModel => write!(
                f,
                "no AIGatewayRoute that a Gateway accepts leads to it, and tidegate.dev/model names no model: only what its own pods \
                 tell of their tokens counts (vLLM, SGLang or TGI). `tidegate routes` shows what is seen"
            ),
            Self::NothingToWaitFor(after) => write!(
                f,
                "tidegate.dev/after names {after}, which is not in this namespace: nothing is waited for at opening"
            ),
            Self::NoHolidays => write!(
                f,
                "tidegate.dev/hours mention PH, but no holidays are known: name a Calendar with spec.holidays in \
                 tidegate.dev/calendar. Until then every day counts as a working day"
            ),
            Self::NoEffect(what) => write!(f, "{what}"),
            Self::NotMeasurable(what) => write!(f, "{what}"),
            Self::NoTolerance => write!(
                f,
                "tidegate.dev/tolerance needs Kubernetes 1.35, in which an HPA has one of its own: until then that of the whole cluster \
                 applies (10 % by default)"
            ),
            Self::PausedByHours(replicas, triggers) => write!(
                f,
                "what KEDA itself measures or computes ({triggers}) knows no hours: outside them KEDA pauses its ScaledObject at {replicas} replicas, \
                 whatever is asked for (autoscaling.keda.sh/paused-replicas)"
            ),
            Self::ZeroNeedsWakeSignal(why) => write!(
                f,
                "tidegate.dev/min-replicas is 0, but nothing would wake it from zero, so 1 replica is kept: {why}"
            ),
            Self::NoReadinessProbe => f.write_str(
                "it may go to zero, and no container of its pods has a readinessProbe or startupProbe: each start from zero counts as \
                 ready before the pod listens, and requests that the proxies send to it then are answered 503. Add a readinessProbe to \
                 the container that serves",
            ),
            Self::HoldMayTimeOut(short) => write!(f, "{short}"),
            Self::ScaledBySomethingElse(Kind::HorizontalPodAutoscaler, name) => write!(
                f,
                "HorizontalPodAutoscaler {name} scales it already: nothing is done. To hand it over in one step, remove it from whatever \
                 applies it and annotate the workload with tidegate.dev/adopt: hpa/{name}; or delete that HPA; or keep it, with \
                 tidegate.dev/paused: \"true\" on the workload"
            ),
            Self::ScaledBySomethingElse(kind, name) => write!(
                f,
                "{kind} {name} scales it already, and is not Tidegate's: nothing is done. To hand it over in one step, remove it from \
                 whatever applies it and annotate the workload with tidegate.dev/adopt: scaledobject/{name}; or delete that {kind}; or \
                 ask for nothing but hours, by which it can be paused; or keep it, with tidegate.dev/paused: \"true\" on the workload"
            ),
            Self::CannotTakeOver(why) => write!(f, "tidegate.dev/adopt: {why}: nothing is done"),
            Self::TookOver(scaler) => write!(
                f,
                "{scaler} is Tidegate's from now on: its HPA goes on, and the replicas stay as they are until a signal asks for others. \
                 If it stands in Git or in a chart, remove it there, or it is applied again"
            ),
            Self::NameTaken(kind, name) => write!(
                f,
                "its {kind} would be called {name}, but there is one of that name that scales something else: nothing is done. Rename that one"
            ),
            Self::OfAnotherRelease { name, theirs, ours } => write!(
                f,
                "ScaledObject {name} is of another release of Tidegate, {theirs}: it is left alone. Have one of the two not see this \
                 namespace (namespaces in its values); or, when that one is gone, `kubectl label scaledobject {name} \
                 {RELEASE}={ours} --overwrite`"
            ),
            Self::Stopped => write!(
                f,
                "it has 0 replicas, so somebody has stopped it: it stays so until somebody scales it, and its hours count from then on"
            ),
            Self::GivesBack(replicas) => write!(
                f,
                "it is no longer Tidegate's: KEDA gives it back the {replicas} replicas that it had, and then its ScaledObject is deleted"
            ),
            Self::Adopted(replicas, by) => write!(
                f,
                "{by} set its replicas to {replicas} inside hours: this is the number that it comes back to from now on"
            ),
            Self::Refused(error) => write!(f, "the API server refused its ScaledObject: {error}"),
            Self::Understood(what) => write!(f, "it {what}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_that_another_tool_has_to_replace_first_names_the_tool() {
        let told = |text: &str| WorkloadNotice::InvalidAnnotations(Problem::Contradiction(text.to_owned())).to_string();
        assert!(told("tidegate.dev/hours: got \"${HOURS}\"").contains("It is a variable that Flux substitutes"));
        assert!(told("got \"{{ .Values.hours }}\"").contains("It is a Helm template"));
        assert!(!told("tidegate.dev/hours: got \"x\"").contains("It is"));
    }
}
