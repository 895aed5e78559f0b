//! Parsers of single values. Each returns the value, or a description of a valid one.

use std::{str::FromStr, time::Duration};

use chrono::{DateTime, Utc};
use chrono_tz::Tz;

use crate::{
    adopt::ScalerRef,
    hours::{Holidays, Hours},
    kafka::{NoOffset, NotPartitions, NotTopics, PartitionCap, Partitions, Topics},
    key::{Key, LONGEST_NAME},
    signal::{PerReplica, Signal},
    value_kind::ValueKind,
    workload::WorkloadRef,
};

/// Description of a valid value, to follow the word "wants".
pub(crate) type Wanted = String;

/// Longest value that is parsed, in bytes: users send it with every call, and comparing or parsing it may take more than linear
/// time.
pub(crate) const LONGEST: usize = 10_240;

/// Parses a value of at most [`LONGEST`] bytes.
pub(crate) fn bounded<T>(value: &str, parse: impl FnOnce(&str) -> Result<T, Wanted>) -> Result<T, Wanted> {
    if value.len() <= LONGEST { parse(value) } else { Err(format!("at most {LONGEST} bytes, not {}", value.len())) }
}

/// A source of keys: annotations, or the metadata of a trigger. It also collects the problems.
pub(crate) trait ReadKeys {
    /// Reads one key: `None` where it is absent or invalid.
    fn read<T>(&mut self, key: Key, parse: impl FnOnce(&str) -> Result<T, Wanted>) -> Option<T>;
}

pub(crate) fn replicas(value: &str) -> Result<u32, Wanted> {
    match value.parse::<u32>() {
        Ok(n) if i32::try_from(n).is_ok() => Ok(n),
        _ => Err(ValueKind::Replicas.wanted().into()),
    }
}

pub(crate) fn max_replicas(value: &str) -> Result<u32, Wanted> {
    match replicas(value) {
        Ok(n) if n >= 1 => Ok(n),
        _ => Err(ValueKind::MaxReplicas.wanted().into()),
    }
}

pub(crate) fn per_replica(value: &str) -> Result<PerReplica, Wanted> {
    // `f64::from_str` takes "inf" and "nan" too: the bounds of PerReplica refuse them.
    value.parse().ok().and_then(PerReplica::new).ok_or_else(|| ValueKind::PerReplica.wanted().into())
}

/// The parser of this signal's target.
pub(crate) fn target_of(signal: Signal) -> fn(&str) -> Result<PerReplica, Wanted> {
    if signal == Signal::KvCache { kv_cache } else { per_replica }
}

fn kv_cache(value: &str) -> Result<PerReplica, Wanted> {
    let part = per_replica(value).ok().filter(|part| part.get() <= 1.0);
    part.ok_or_else(|| ValueKind::KvCacheShare.wanted().into())
}

/// At most a day: nothing takes longer to start.
pub(crate) fn startup_time(value: &str) -> Result<Duration, Wanted> {
    match humantime::parse_duration(value) {
        Ok(time) if (Duration::from_secs(1)..=Duration::from_hours(24)).contains(&time) => Ok(time),
        _ => Err(ValueKind::StartupTime.wanted().into()),
    }
}

pub(crate) fn boolean(value: &str) -> Result<bool, Wanted> {
    match value {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(ValueKind::Boolean.wanted().into()),
    }
}

/// The HPA takes stabilisation windows of at most an hour.
pub(crate) fn window(value: &str) -> Result<Duration, Wanted> {
    match humantime::parse_duration(value) {
        Ok(window) if window <= Duration::from_secs(3600) && window.subsec_nanos() == 0 => Ok(window),
        _ => Err(ValueKind::Window.wanted().into()),
    }
}

pub(crate) fn warm_up(value: &str) -> Result<Duration, Wanted> {
    match humantime::parse_duration(value) {
        Ok(time) if time <= Duration::from_secs(24 * 3600) => Ok(time),
        _ => Err(ValueKind::WarmUp.wanted().into()),
    }
}

/// At most ten minutes: no client waits longer.
pub(crate) fn hold_timeout(value: &str) -> Result<Duration, Wanted> {
    match humantime::parse_duration(value) {
        Ok(time) if (Duration::from_secs(1)..=Duration::from_mins(10)).contains(&time) => Ok(time),
        _ => Err(ValueKind::HoldTimeout.wanted().into()),
    }
}

/// In whole seconds, as KEDA's `cooldownPeriod`.
pub(crate) fn zero_after(value: &str) -> Result<Duration, Wanted> {
    match humantime::parse_duration(value) {
        Ok(time) if time <= Duration::from_hours(24) && time.subsec_nanos() == 0 => Ok(time),
        _ => Err(ValueKind::ZeroAfter.wanted().into()),
    }
}

pub(crate) fn topics(value: &str) -> Result<Topics, Wanted> {
    value.parse().map_err(|error: NotTopics| error.to_string())
}

pub(crate) fn no_offset(value: &str) -> Result<NoOffset, Wanted> {
    let found = NoOffset::ALL.into_iter().find(|policy| policy.as_str() == value);
    found.ok_or_else(|| ValueKind::NoOffset.wanted().into())
}

pub(crate) fn partition_cap(value: &str) -> Result<PartitionCap, Wanted> {
    let found = PartitionCap::ALL.into_iter().find(|cap| cap.as_str() == value);
    found.ok_or_else(|| ValueKind::PartitionCap.wanted().into())
}

pub(crate) fn partitions(value: &str) -> Result<Partitions, Wanted> {
    value.parse().map_err(|error: NotPartitions| error.to_string())
}

/// A whole number.
pub(crate) fn amount(value: &str) -> Result<u64, Wanted> {
    value.parse().map_err(|_| ValueKind::Amount.wanted().into())
}

pub(crate) fn messages(value: &str) -> Result<u64, Wanted> {
    value.parse().map_err(|_| ValueKind::Messages.wanted().into())
}

/// At least 30 s: in less time than a consumer needs to commit, healthy partitions would look stuck.
pub(crate) fn stuck_after(value: &str) -> Result<Duration, Wanted> {
    match humantime::parse_duration(value) {
        Ok(time) if (Duration::from_secs(30)..=Duration::from_hours(7 * 24)).contains(&time) => Ok(time),
        _ => Err(ValueKind::StuckAfter.wanted().into()),
    }
}

pub(crate) fn text(value: &str) -> Result<String, Wanted> {
    if value.trim().is_empty() { Err(ValueKind::Text.wanted().into()) } else { Ok(value.trim().to_owned()) }
}

/// The length is limited, because the scaler keeps thousands of queries and sends them again and again.
pub(crate) fn query(value: &str) -> Result<String, Wanted> {
    match text(value) {
        Ok(query) if query.len() <= 10_000 => Ok(query),
        _ => Err(ValueKind::Query.wanted().into()),
    }
}

/// An RFC 1123 subdomain, as Kubernetes requires for the names of objects.
pub(crate) fn object_name(value: &str) -> Result<String, Wanted> {
    let label = |l: &str| {
        !l.is_empty()
            && l.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            && !l.starts_with('-')
            && !l.ends_with('-')
    };
    if value.len() <= 253 && value.split('.').all(label) {
        Ok(value.to_owned())
    } else {
        Err(ValueKind::ObjectName.wanted().into())
    }
}

pub(crate) fn workload(value: &str) -> Result<WorkloadRef, Wanted> {
    value.parse().map_err(|_| ValueKind::Workload.wanted().into())
}

pub(crate) fn scaler(value: &str) -> Result<ScalerRef, Wanted> {
    let scaler = value.parse().ok().filter(|scaler: &ScalerRef| object_name(&scaler.name).is_ok());
    scaler.ok_or_else(|| ValueKind::Scaler.wanted().into())
}

/// Parses an IANA zone. The error suggests the one that was probably meant.
pub(crate) fn time_zone(value: &str) -> Result<Tz, Wanted> {
    Tz::from_str(value).map_err(|_| {
        let zone = "an IANA time zone, such as";
        if let Some(text) = of_offset(value) {
            return text;
        }
        let short = (2..=5).contains(&value.len()) && value.bytes().all(|b| b.is_ascii_alphabetic());
        // The name of a place can be as short: Rome.
        if short && !is_place(value) {
            return format!("{zone} \"Europe/Berlin\": abbreviations such as {value} are ambiguous, so name a place");
        }
        match nearest_zone(value) {
            Some(nearest) => format!("{zone} \"{nearest}\""),
            None => format!("{zone} \"Europe/Berlin\""),
        }
    })
}

/// The error for an offset, such as `UTC+2` or `+02:00`, in place of a zone; `None` for any other text.
fn of_offset(value: &str) -> Option<Wanted> {
    let upper = value.to_ascii_uppercase();
    let offset = upper.strip_prefix("UTC").or_else(|| upper.strip_prefix("GMT")).unwrap_or(&upper);
    let sign = offset.chars().next().filter(|sign| matches!(sign, '+' | '-'))?;
    let (hours, minutes) = offset[1..].split_once(':').unwrap_or((&offset[1..], "0"));
    let (hours, minutes): (u8, u8) = (hours.parse().ok()?, minutes.parse().ok()?);
    let inverted = if sign == '+' { '-' } else { '+' };
    let etc = format!("Etc/GMT{inverted}{hours}");
    let place = "a place such as \"Europe/Berlin\" also follows its clock changes";
    Some(match (hours, minutes) {
        (0, 0) => "an IANA time zone: \"UTC\"".to_owned(),
        (_, 0) if Tz::from_str(&etc).is_ok() => format!(
            "an IANA time zone: \"{etc}\" is {hours} h {} UTC (the sign is inverted, as POSIX has it), and {place}",
            if sign == '+' { "ahead of" } else { "behind" }
        ),
        _ => format!("an IANA time zone and no offset: {place}"),
    })
}

/// Whether this is the last part of a zone's name.
fn is_place(value: &str) -> bool {
    let places = chrono_tz::TZ_VARIANTS.iter().filter_map(|zone| zone.name().rsplit_once('/'));
    places.map(|(_, place)| place).any(|place| place.eq_ignore_ascii_case(value))
}

/// The zone whose name, or its last part, is most similar to the value. A zone without a place is never suggested: those are
/// abbreviations and old names.
fn nearest_zone(value: &str) -> Option<&'static str> {
    const REGIONS: [&str; 10] =
        ["Africa", "America", "Antarctica", "Arctic", "Asia", "Atlantic", "Australia", "Europe", "Indian", "Pacific"];
    if value.len() > LONGEST_NAME {
        return None;
    }
    let written = value.trim().to_lowercase().replace(' ', "_");
    let zones = chrono_tz::TZ_VARIANTS.iter().map(|zone| zone.name());
    let places = zones.filter(|name| name.split_once('/').is_some_and(|(region, _)| REGIONS.contains(&region)));
    let last = |name: &str| name.rsplit('/').next().unwrap_or_default().to_lowercase();
    let likeness = |name: &str| {
        let of_place = strsim::jaro_winkler(&last(&written), &last(name));
        if !written.contains('/') {
            return of_place;
        }
        // The place says more than the region, but two regions may have places of the same name.
        0.75 * of_place + 0.25 * strsim::jaro_winkler(&written, &name.to_lowercase())
    };
    places
        .map(|name| (likeness(name), name))
        .filter(|(likeness, _)| *likeness > 0.8)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, name)| name)
}

pub(crate) fn hours(value: &str) -> Result<Hours, Wanted> {
    Hours::parse(value, &Holidays::default()).map_err(|error| error.to_string())
}

pub(crate) fn instant(value: &str) -> Result<DateTime<Utc>, Wanted> {
    DateTime::parse_from_rfc3339(value).map(|t| t.to_utc()).map_err(|_| ValueKind::Instant.wanted().into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        behavior::{Rate, Tolerance},
        beside::{Formula, KedaTrigger},
        intent::Managed,
        wake::{WakeIgnore, WakeLimit},
    };

    /// Whether a key of this kind takes the value.
    fn is_taken(kind: ValueKind, value: &str) -> bool {
        match kind {
            ValueKind::Replicas => replicas(value).is_ok(),
            ValueKind::MaxReplicas => max_replicas(value).is_ok(),
            ValueKind::PerReplica => per_replica(value).is_ok(),
            ValueKind::KvCacheShare => kv_cache(value).is_ok(),
            ValueKind::StartupTime => startup_time(value).is_ok(),
            ValueKind::Window => window(value).is_ok(),
            ValueKind::Rates => Rate::parse_all(value).is_ok(),
            ValueKind::Tolerance => Tolerance::parse(value).is_ok(),
            ValueKind::Cpu => KedaTrigger::of_cpu(value).is_ok(),
            ValueKind::Memory => KedaTrigger::of_memory(value).is_ok(),
            ValueKind::Amount => amount(value).is_ok(),
            ValueKind::Formula => Formula::parse(value).is_ok(),
            ValueKind::KedaTriggers => KedaTrigger::parse_all(value).is_ok(),
            ValueKind::WarmUp => warm_up(value).is_ok(),
            ValueKind::StuckAfter => stuck_after(value).is_ok(),
            ValueKind::HoldTimeout => hold_timeout(value).is_ok(),
            ValueKind::ZeroAfter => zero_after(value).is_ok(),
            ValueKind::WakeIgnore => value.parse::<WakeIgnore>().is_ok(),
            ValueKind::WakeLimit => value.parse::<WakeLimit>().is_ok(),
            ValueKind::Boolean => boolean(value).is_ok(),
            ValueKind::Topics => topics(value).is_ok(),
            ValueKind::Partitions => partitions(value).is_ok(),
            ValueKind::NoOffset => no_offset(value).is_ok(),
            ValueKind::PartitionCap => partition_cap(value).is_ok(),
            ValueKind::Messages => messages(value).is_ok(),
            ValueKind::Text => text(value).is_ok(),
            ValueKind::Query => query(value).is_ok(),
            ValueKind::ObjectName => object_name(value).is_ok(),
            ValueKind::Workload => workload(value).is_ok(),
            ValueKind::Scaler => scaler(value).is_ok(),
            ValueKind::Hours => hours(value).is_ok(),
            ValueKind::TimeZone => time_zone(value).is_ok(),
            ValueKind::Instant => instant(value).is_ok(),
            ValueKind::Manage => Managed::parse(value).is_ok(),
        }
    }

    #[test]
    fn each_key_takes_its_example_and_the_value_that_is_its_default() {
        for key in Key::ALL {
            assert!(is_taken(key.kind(), key.example()), "{key:?}: {}", key.example());
            if let Some(default) = key.default().filter(|default| !default.contains(' ')) {
                assert!(is_taken(key.kind(), default), "{key:?}: {default}");
            }
        }
    }

    #[test]
    fn no_kind_takes_a_text_that_means_nothing() {
        for key in Key::ALL.iter().filter(|key| !matches!(key.kind(), ValueKind::Text | ValueKind::Query)) {
            assert!(!is_taken(key.kind(), "?"), "{key:?}");
        }
    }
}
