//! `tidegate.dev/manage` of a Namespace: which kinds in it follow its hours without annotations of their own.

use super::Annotations;
use crate::{key::Key, problem::Problem, value::Wanted, value_kind::ValueKind};

/// The kinds that a Namespace has managed, besides Deployments, StatefulSets and Rollouts, which are wherever they are scaled.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Managed {
    /// CronJobs are suspended outside hours
    pub cron_jobs: bool,
    /// DaemonSets have no pods outside hours
    pub daemon_sets: bool,
}

impl Managed {
    /// Reads `manage` from the annotations of a Namespace; `None` where it is absent or invalid.
    pub fn of(namespace: &Annotations) -> Option<Self> {
        Self::parse(namespace.get(Key::Manage.annotation())?).ok()
    }

    /// The problem of a Namespace whose `manage` has no effect: its value is invalid, or there are no hours. That is a mistake and
    /// not a request to stop, so the workloads that were managed before stay managed.
    pub fn mistake(name: &str, namespace: &Annotations) -> Option<Problem> {
        let has = |key: Key| namespace.contains_key(key.annotation());
        let makes_sense = Self::of(namespace).is_some() && (has(Key::Hours) || has(Key::Calendar));
        (has(Key::Manage) && !makes_sense).then(|| {
            let key = Key::Manage.annotation();
            Problem::Contradiction(format!(
                "{key} of namespace {name} makes no sense; `kubectl describe namespace {name}` says why"
            ))
        })
    }

    /// Parses `all`, optionally with `cronjobs` and `daemonsets`, separated by commas, in any order.
    pub(crate) fn parse(value: &str) -> Result<Self, Wanted> {
        let mut kinds: Vec<_> = value.split(',').map(str::trim).collect();
        kinds.sort_unstable();
        match kinds[..] {
            ["all"] => Ok(Self::default()),
            ["all", "cronjobs"] => Ok(Self { cron_jobs: true, daemon_sets: false }),
            ["all", "daemonsets"] => Ok(Self { cron_jobs: false, daemon_sets: true }),
            ["all", "cronjobs", "daemonsets"] => Ok(Self { cron_jobs: true, daemon_sets: true }),
            _ => Err(ValueKind::Manage.wanted().into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_comes_first_in_what_is_managed_and_kinds_may_be_added() {
        let of = |value: &str| Managed::of(&Annotations::from([("tidegate.dev/manage".to_owned(), value.to_owned())]));
        assert_eq!(of("all"), Some(Managed::default()));
        assert_eq!(of("all, cronjobs"), Some(Managed { cron_jobs: true, daemon_sets: false }));
        assert_eq!(of("daemonsets,all,cronjobs"), Some(Managed { cron_jobs: true, daemon_sets: true }));
        for wrong in ["", "some", "cronjobs", "all,jobs", "all,all", "ALL", "all,"] {
            assert_eq!(of(wrong), None, "{wrong}");
        }
    }
}
