//! Notices for the owners of objects that sleep: the reasons and texts of events.

use std::fmt;

use chrono::{DateTime, Utc};
use tidegate_cluster::{Kind, Sleeper, Wanted};
use tidegate_core::{
    event::{Notice, Reason},
    problem::Problem,
};

/// One notice for the owner of an object.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum SwitchNotice {
    /// Outside hours: how it sleeps, and until when
    Asleep(Kind, u32, Option<DateTime<Utc>>),
    /// Inside hours, and until when
    Awake(Option<DateTime<Utc>>),
    /// An annotation is wrong
    InvalidAnnotations(Problem),
    /// The API server refused to switch it
    Refused(String),
}

impl SwitchNotice {
    /// All notices that are true of it now.
    pub(super) fn of(sleeper: &Sleeper) -> Vec<Self> {
        let state = match sleeper.wanted {
            Wanted::Asleep(replicas) => Some(Self::Asleep(sleeper.kind, replicas, sleeper.until)),
            Wanted::Awake => Some(Self::Awake(sleeper.until)),
            Wanted::AsItIs => None,
        };
        let problems = sleeper.problems.iter().cloned().map(Self::InvalidAnnotations);
        state.into_iter().chain(problems).collect()
    }
}

impl Notice for SwitchNotice {
    fn reason(&self) -> Reason {
        match self {
            Self::Asleep(..) => Reason::Asleep,
            Self::Awake(_) => Reason::Awake,
            Self::InvalidAnnotations(_) => Reason::InvalidAnnotations,
            Self::Refused(_) => Reason::SwitchRefused,
        }
    }
}

impl fmt::Display for SwitchNotice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let until = |until: &Option<DateTime<Utc>>| {
            until
                .map_or_else(|| "for the years to come".to_owned(), |at| at.format("until %a %F %H:%M UTC").to_string())
        };
        match self {
            Self::Asleep(Kind::CronJob, _, end) => write!(
                f,
                "outside its hours: suspended {}. The last run that it misses is started then, unless \
                 spec.startingDeadlineSeconds is shorter",
                until(end)
            ),
            Self::Asleep(Kind::DaemonSet, _, end) => {
                write!(f, "outside its hours: its pods match no node {}", until(end))
            }
            Self::Asleep(_, replicas, end) => write!(
                f,
                "outside its hours: KEDA pauses it at {replicas} replicas (autoscaling.keda.sh/paused-replicas) {}",
                until(end)
            ),
            Self::Awake(end) => write!(f, "inside its hours: as its owner has it {}", until(end)),
            Self::InvalidAnnotations(problem) => write!(f, "{problem} (it stays as it is until this is fixed)"),
            Self::Refused(error) => write!(
                f,
                "the API server refused to switch it by its hours: {error}; tried again every 30 s. templates/rbac.yaml of the \
                 chart lists all permissions"
            ),
        }
    }
}
