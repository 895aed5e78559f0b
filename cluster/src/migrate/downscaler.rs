//! Annotations of kube-downscaler and its successors (`helper.py` and `scaler.py` of caas-team/py-kube-downscaler).

use chrono::{DateTime, NaiveDate, NaiveDateTime, SecondsFormat, Utc};

use super::{
    draft::{Draft, ends_later},
    fields::Object,
    target::Target,
    week::Week,
};
use crate::unscaled::REPLICATION_CONTROLLER;

const PREFIX: &str = "downscaler/";
const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
/// Kinds whose replicas hours decide.
const WORKLOADS: [&str; 2] = ["Deployment", "StatefulSet"];
/// Annotations of its own notes.
const ITS_NOTES: [&str; 1] = ["original-replicas"];

/// An object with such annotations, with Tidegate's in their place.
pub(super) fn drafts(object: &Object<'_>) -> Vec<Draft> {
    let annotations = object.at("/metadata/annotations").and_then(|all| all.as_object());
    let keys = annotations.into_iter().flatten().filter_map(|(key, _)| key.strip_prefix(PREFIX));
    let keys: Vec<_> = keys.filter(|key| !ITS_NOTES.contains(key)).collect();
    if keys.is_empty() {
        return Vec::new();
    }
    let mut draft = Draft::new(object, Some(Target::itself(object)));
    let of_namespace = object.group.is_empty() && object.kind == "Namespace";
    let of_workload = object.group == "apps" && WORKLOADS.contains(&object.kind);
    if !(of_namespace || of_workload) {
        let why = match object.kind {
            "ReplicationController" => format!("Tidegate has no hours for it. {REPLICATION_CONTROLLER}"),
            kind => format!("Tidegate has no hours for a {kind} of its own"),
        };
        return vec![draft.give_up("metadata.annotations", why)];
    }
    for key in &keys {
        one(object, key, &mut draft);
    }
    hours(object, &mut draft);
    if of_namespace && draft.has("hours") {
        draft.set("manage", "all");
    }
    vec![draft]
}

fn field(key: &str) -> String {
    format!("metadata.annotations[{PREFIX}{key}]")
}

fn one(object: &Object<'_>, key: &str, draft: &mut Draft) {
    let value = object.annotation(&format!("{PREFIX}{key}")).unwrap_or_default().trim();
    match key {
        "downtime-replicas" if value.parse::<u32>().is_ok() => draft.set("off-hours-replicas", value),
        "downtime-replicas" => draft.lost(field(key), format!("\"{value}\": a whole number of replicas is expected")),
        "exclude" if value.eq_ignore_ascii_case("true") => draft.set("paused", "true"),
        // The times are read together.
        "uptime" | "downtime" | "exclude" => {}
        "exclude-until" => match instant(value) {
            Some(at) => draft.set("keep-awake-until", at.to_rfc3339_opts(SecondsFormat::Secs, true)),
            None => draft.lost(field(key), format!("\"{value}\" is no time")),
        },
        "force-uptime" if value.eq_ignore_ascii_case("true") => {
            draft.lost(field(key), "an override has an end: tidegate.dev/keep-awake-until, or `tidegate wake`");
        }
        "force-uptime" | "force-downtime" if value.eq_ignore_ascii_case("false") => {}
        _ => draft.lost(field(key), "Tidegate has nothing like it"),
    }
}

/// Forms in which times are written there, in UTC where they say no zone.
fn instant(value: &str) -> Option<DateTime<Utc>> {
    let date = || NaiveDate::parse_from_str(value, "%Y-%m-%d").ok()?.and_hms_opt(0, 0, 0);
    let local = ["%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%dT%H:%MZ", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M"];
    let with_zone = DateTime::parse_from_rfc3339(value).ok().map(|at| at.to_utc());
    let without = || local.iter().find_map(|form| NaiveDateTime::parse_from_str(value, form).ok()).or_else(date);
    with_zone.or_else(|| without().map(|at| at.and_utc()))
}

/// It is up where `uptime` says so, or there is none, and `downtime` does not.
fn hours(object: &Object<'_>, draft: &mut Draft) {
    let mut week: Option<Week> = None;
    let mut zone = None;
    for key in ["uptime", "downtime"] {
        let Some(spec) = object.annotation(&format!("{PREFIX}{key}")) else { continue };
        let read = times(spec).and_then(|(times, its)| match (&zone, its) {
            (Some(zone), Some(its)) if *zone != its => Err(format!("it is in {its}, and uptime in {zone}")),
            (_, its) => Ok((times, its)),
        });
        match read {
            Ok((times, its)) => {
                let up = if key == "uptime" { times } else { times.not() };
                week = Some(week.map_or_else(|| up.clone(), |week| week.and(&up)));
                zone = zone.or(its);
            }
            Err(why) => return draft.lost(field(key), why),
        }
    }
    if let Some(week) = week {
        draft.set("hours", week.hours());
        draft.set("timezone", zone.unwrap_or_else(|| "UTC".to_owned()));
        draft.note("metadata.annotations", ends_later());
    }
}

/// The times of a specification, such as `Mon-Fri 07:30-20:30 Europe/Berlin`, and its time zone.
fn times(spec: &str) -> Result<(Week, Option<String>), String> {
    match spec.trim().to_ascii_lowercase().as_str() {
        "always" => return Ok((Week::new(|_| true), None)),
        "never" => return Ok((Week::new(|_| false), None)),
        _ => {}
    }
    let mut all: Option<(Week, String)> = None;
    for part in spec.split(',') {
        let (week, zone) = part_of(part.trim())?;
        all = Some(match all {
            None => (week, zone),
            Some((other, same)) if same == zone => (other.or(&week), same),
            Some((_, other)) => return Err(format!("it has two time zones, {other} and {zone}")),
        });
    }
    let (week, zone) = all.ok_or("it is empty")?;
    Ok((week, Some(zone)))
}

fn part_of(part: &str) -> Result<(Week, String), String> {
    let unread = || {
        format!(
            "\"{part}\": weekly times such as \"Mon-Fri 07:30-20:30 Europe/Berlin\" become hours, other forms do not"
        )
    };
    let fields: Vec<_> = part.split_whitespace().collect();
    let [days, times, ref zone @ ..] = fields[..] else { return Err(unread()) };
    let [zone] = zone[..] else { return Err(format!("\"{part}\" says no time zone")) };
    let day = |name: &str| DAYS.iter().position(|day| day.eq_ignore_ascii_case(name));
    let (from_day, to_day) = days.split_once('-').and_then(|(a, b)| Some((day(a)?, day(b)?))).ok_or_else(unread)?;
    let (from, to) = times.split_once('-').and_then(|(a, b)| Some((minute(a)?, minute(b)?))).ok_or_else(unread)?;
    if from >= to {
        return Err(format!("\"{part}\" ends before it starts, so that it never holds there"));
    }
    tidegate_core::calendar::time_zone(zone).map_err(|wanted| format!("\"{zone}\" is not {wanted}"))?;
    let week = Week::new(|at| {
        let (day, minute) = (at / (24 * 60), at % (24 * 60));
        let days =
            if from_day <= to_day { (from_day..=to_day).contains(&day) } else { day >= from_day || day <= to_day };
        days && (from..to).contains(&minute)
    });
    Ok((week, zone.to_owned()))
}

fn minute(time: &str) -> Option<usize> {
    let (hour, minute) = time.split_once(':')?;
    let (hour, minute): (usize, usize) = (hour.parse().ok()?, minute.parse().ok()?);
    (hour * 60 + minute <= 24 * 60 && minute < 60).then_some(hour * 60 + minute)
}
