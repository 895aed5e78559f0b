//! `cron` triggers as hours.
//!
//! KEDA's cron is a floor: outside its time other triggers go on, down to `minReplicaCount`. Where nothing but cron decides, hours say
//! the same: `off-hours-replicas` is the number outside. Beside signals of Tidegate they say the same only with a cap that caps nothing,
//! and then Tidegate keeps one replica outside, neither more nor fewer. Beside CPU, memory and triggers of KEDA they never do: hours
//! cannot clamp those, and hold them by a pause.

use super::{Bounds, Trigger};
use crate::migrate::{cron, draft::Draft, week::Week};

/// Hours of some triggers, and the replicas inside them.
pub(super) struct Hours {
    hours: String,
    zone: String,
    replicas: i64,
}

/// The hours of all `cron` triggers of an object, or why they have no hours in common.
pub(super) fn hours(triggers: &[Trigger<'_>]) -> Result<Hours, String> {
    let mut all: Option<(Week, String, i64)> = None;
    for trigger in triggers {
        let (week, zone, replicas) = one(trigger)?;
        all = Some(match all {
            None => (week, zone, replicas),
            Some((other, same_zone, same)) if same_zone == zone && same == replicas => (other.or(&week), zone, same),
            Some(_) => return Err("cron triggers with several time zones or desiredReplicas".to_owned()),
        });
    }
    let (week, zone, replicas) = all.ok_or("no cron trigger")?;
    Ok(Hours { hours: week.hours(), zone, replicas })
}

fn one(trigger: &Trigger<'_>) -> Result<(Week, String, i64), String> {
    let text = |key: &str| trigger.get(key).ok_or_else(|| format!("a cron trigger without {key}"));
    let (start, end, zone, replicas) = (text("start")?, text("end")?, text("timezone")?, text("desiredReplicas")?);
    trigger.is_per_replica()?;
    let replicas = replicas.parse().ok().filter(|replicas| *replicas > 0);
    let replicas = replicas.ok_or("desiredReplicas of a cron trigger is no number above 0")?;
    if start == end {
        return Err("start and end of a cron trigger are the same".to_owned());
    }
    tidegate_core::calendar::time_zone(&zone)
        .map_err(|wanted| format!("timezone of a cron trigger is \"{zone}\", not {wanted}"))?;
    Ok((Week::between(&cron::parse(&start)?, &cron::parse(&end)?), zone, replicas))
}

impl Hours {
    /// Writes the hours of an object that nothing else scales.
    pub(super) fn alone(self, bounds: Bounds, draft: &mut Draft) {
        draft.set("off-hours-replicas", bounds.min.to_string());
        self.write(bounds, draft);
    }

    /// Writes the hours of an object that other triggers scale too, or says why they would not say the same.
    pub(super) fn beside_others(self, bounds: Bounds, draft: &mut Draft) -> Result<(), String> {
        if bounds.min != 1 {
            return Err(format!(
                "beside other triggers Tidegate's hours keep 1 replica outside, not {}; to have nothing scale it then, write \
                 tidegate.dev/hours: \"{}\" and tidegate.dev/timezone: {} instead",
                bounds.min, self.hours, self.zone
            ));
        }
        draft.set("off-hours-replicas", bounds.max.to_string());
        self.write(bounds, draft);
        Ok(())
    }

    fn write(self, bounds: Bounds, draft: &mut Draft) {
        draft.set("min-replicas", self.replicas.max(bounds.min).min(bounds.max).to_string());
        draft.set("hours", self.hours);
        draft.set("timezone", self.zone);
    }
}
