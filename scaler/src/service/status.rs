//! Refusals of calls, as gRPC codes and messages that say what to do.

use tidegate_core::{problem::Problem, trigger::Trigger};
use tonic::{Code, Status};

use crate::{demand::NoDemand, text::shortened};

/// Reason why a call has no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RpcRefusal {
    #[error("GetMetrics needs a scaledObjectRef")]
    NoObject,
    #[error("ScaledObject {object} in namespace {namespace}: {problems}")]
    Metadata { namespace: String, object: String, problems: String },
    #[error("this trigger has no metric \"{asked}\"; it has {known}")]
    UnknownMetric { asked: String, known: String },
    #[error(transparent)]
    NoDemand(#[from] NoDemand),
}

/// Longest message, in characters: it travels in an HTTP header, whose size clients limit (16 KiB is common).
const LONGEST_MESSAGE: usize = 4000;

impl RpcRefusal {
    pub(super) fn metadata(namespace: &str, object: &str, problems: &[Problem]) -> Self {
        let problems: Vec<_> = problems.iter().map(Problem::to_string).collect();
        Self::Metadata {
            namespace: shortened(namespace),
            object: shortened(object),
            problems: joined(&problems, LONGEST_MESSAGE - 500),
        }
    }

    pub(super) fn unknown_metric(asked: &str, trigger: &Trigger) -> Self {
        let known: Vec<_> = trigger.targets.iter().map(|target| target.signal.metric_name()).collect();
        Self::UnknownMetric { asked: shortened(asked), known: known.join(", ") }
    }

    pub(crate) fn code(&self) -> Code {
        match self {
            Self::NoObject | Self::Metadata { .. } | Self::NoDemand(NoDemand::NoTraffic) => Code::InvalidArgument,
            Self::UnknownMetric { .. }
            | Self::NoDemand(NoDemand::UnknownWorkload { .. } | NoDemand::UnknownService { .. }) => Code::NotFound,
            // Only a change in the cluster helps, so a retry does not.
            Self::NoDemand(NoDemand::NoRoute { .. }) => Code::FailedPrecondition,
            // Data will arrive, or arrive again, so a retry helps.
            Self::NoDemand(
                NoDemand::NothingKnown
                | NoDemand::NobodyReady { .. }
                | NoDemand::NotProgrammed(_)
                | NoDemand::NoHours { .. }
                | NoDemand::NoReading { .. },
            ) => Code::Unavailable,
        }
    }
}

impl From<RpcRefusal> for Status {
    fn from(refused: RpcRefusal) -> Self {
        let message: String = refused.to_string().chars().take(LONGEST_MESSAGE).collect();
        Self::new(refused.code(), message)
    }
}

/// Joins as many sentences as fit into `room` bytes, and says how many more there are.
fn joined(sentences: &[String], room: usize) -> String {
    let mut all = String::new();
    for (index, sentence) in sentences.iter().enumerate() {
        if index > 0 && all.len() + sentence.len() > room {
            return format!("{all}; and {} more", sentences.len() - index);
        }
        all = if all.is_empty() { sentence.clone() } else { format!("{all}; {sentence}") };
    }
    all
}
