//! The page for people. The answer comes first, for somebody who was woken up.

use std::fmt::{self, Display, Formatter, Write};

use chrono::SecondsFormat;
use tidegate_core::{
    demand::{Desired, Limit},
    intent::Bounds,
    key::Key,
    plan::Replicas,
    signal::{Family, Signal},
    workload::WorkloadId,
};

use crate::history::Change;

use super::{ExplainedCluster, ExplainedReading, ExplainedRoute, ExplainedSignal, Explanation};

/// Columns that every terminal has.
const WIDTH: usize = 80;
/// Most routes, problems and the like that are shown; the rest is in the JSON.
const SHOWN: usize = 20;

impl Display for Explanation {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\n", self.workload)?;
        paragraph(f, "", &self.answer())?;
        self.replicas(f)?;
        if let Some(hours) = &self.hours {
            paragraph(f, "", &format!("Hours: {hours}."))?;
        }
        self.signals(f)?;
        if let Some(kafka) = &self.kafka {
            writeln!(f, "\nKAFKA")?;
            paragraph(f, "", &kafka.to_string())?;
        }
        if let Some(model) = &self.model {
            model.write(f)?;
        }
        self.traffic(f)?;
        section(f, "WHAT IS WRONG", &self.problems)?;
        section(f, "NOTES", &self.notices)?;
        self.changes(f)?;
        self.sources(f)
    }
}

impl Explanation {
    /// `7 replicas wanted: 642.0 requests/s ÷ 100 per replica, decided by requests-per-second.`
    fn answer(&self) -> String {
        let Some(intent) = &self.intent else {
            return "Its annotations are wrong, so what was applied before stays as it is.".to_owned();
        };
        if self.signals.is_empty() {
            let key = Key::RequestsPerSecond.annotation();
            return format!("It has no signal to scale on: give it one, for example {key}.");
        }
        let Some(desired) = self.desired else {
            let wanted = count(self.replicas.wanted);
            return format!("No answer now: no signal is known. KEDA and the HPA leave it at {wanted}.");
        };
        let mut answer = String::new();
        if intent.paused {
            answer.push_str("Paused, so nothing is changed. Otherwise: ");
        }
        if let Some(cap) = self.hours.as_ref().and_then(|hours| hours.limits.cap) {
            if cap == 0 {
                answer.push_str("Outside its hours: no replica is wanted, whatever the traffic.");
                return answer;
            }
            let _infallible = write!(answer, "Outside its hours, when at most {} may run: ", count(cap));
        }
        if !self.complete {
            answer.push_str("At least ");
        }
        let _infallible = write!(answer, "{} wanted", count(desired.replicas));
        answer.push_str(&self.because(desired));
        if !self.complete {
            let unknown: Vec<_> = self.signals.iter().filter(|signal| signal.value.is_none()).collect();
            let names: Vec<_> = unknown.iter().map(|signal| signal.signal.metric_name()).collect();
            let _infallible = write!(answer, " Nothing is taken away while {} is not known.", names.join(" and "));
        }
        answer
    }

    fn because(&self, desired: Desired) -> String {
        let Desired { unbounded, decided_by, limit, .. } = desired;
        let decisive = self.signals.iter().find(|signal| Some(signal.signal) == decided_by);
        let Some((signal, value)) = decisive.and_then(|signal| Some((signal, signal.value?))) else {
            return match limit {
                Some(_) => ", the minimum: nothing asks for any.".to_owned(),
                None => ": nothing asks for any.".to_owned(),
            };
        };
        let ExplainedSignal { signal, unit, per_replica, .. } = signal;
        if *signal == Signal::Schedule && limit.is_none() {
            return ": the least inside its hours.".to_owned();
        }
        let division = format!("{value:.1} {unit} ÷ {per_replica} per replica");
        match limit {
            None => format!(": {division}, decided by {signal}."),
            Some(Limit::MinReplicas) => format!(", the minimum: {division} needs {unbounded}, decided by {signal}."),
            Some(Limit::MaxReplicas) => format!(
                ", the maximum: {division} needs {unbounded}, decided by {signal}. Raise tidegate.dev/max-replicas to get \
                 them."
            ),
        }
    }

    /// Writes the current, ready and allowed replicas, and where to look when they differ from the answer. Commands have lines of
    /// their own, so that they can be copied.
    fn replicas(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Replicas { wanted, ready } = self.replicas;
        let WorkloadId { namespace, name, .. } = &self.workload;
        let mut text = format!("It has {}, of which {ready} ready", count(wanted));
        if let Some(intent) = &self.intent {
            let Bounds { min, max } = intent.bounds;
            let _infallible = write!(text, "; it may have {min} to {max}");
        }
        text.push('.');
        let intent = self.intent.filter(|intent| !intent.paused);
        let mut command = None;
        match (self.desired, intent) {
            (Some(desired), Some(intent)) if desired.replicas < wanted && self.complete => {
                let after = intent.scale_down_after.as_secs();
                let _infallible = write!(text, " Fewer come {after} s after the last need for more.");
            }
            (Some(desired), Some(intent)) if desired.replicas > wanted => {
                text.push_str(if intent.adds_at_once {
                    " More are asked for within a second (tidegate.dev/burst). If they don't come:"
                } else {
                    " More come when the HPA looks next, which is four times a minute. If they don't:"
                });
                command = Some(format!("kubectl -n {namespace} describe hpa keda-hpa-{name}"));
            }
            _ if ready < wanted => {
                text.push_str(" What the others wait for:");
                command = Some(format!("kubectl -n {namespace} get pods"));
            }
            _ => {}
        }
        paragraph(f, "", &text)?;
        command.map_or(Ok(()), |command| writeln!(f, "  {command}"))
    }

    fn signals(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if self.signals.is_empty() {
            return Ok(());
        }
        let names = self.signals.iter().map(|signal| signal.signal.metric_name().len());
        let width = names.max().unwrap_or(0).max(20);
        writeln!(f, "\n{:<width$} {:>13} {:>12} {:>9}  MEASURED", "SIGNAL", "DEMAND", "PER REPLICA", "REPLICAS")?;
        for ExplainedSignal { signal, per_replica, value, age_seconds, replicas, .. } in &self.signals {
            let value = value.map_or_else(|| "unknown".to_owned(), |value| format!("{value:.1}"));
            let replicas = replicas.map_or_else(|| "-".to_owned(), |replicas| replicas.to_string());
            let age = age_seconds.map_or_else(|| "-".to_owned(), |age| format!("{age:.0} s ago"));
            let signal = signal.metric_name();
            writeln!(f, "{signal:<width$} {value:>13} {per_replica:>12} {replicas:>9}  {age}")?;
        }
        Ok(())
    }

    fn traffic(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if self.traffic.is_empty() {
            return Ok(());
        }
        writeln!(f, "\nTRAFFIC")?;
        for route in self.traffic.iter().take(SHOWN) {
            let ExplainedRoute { route, service, share, of_backend, clusters } = route;
            write!(f, "{route} -> Service {}", service.name)?;
            if service.namespace != self.workload.namespace {
                write!(f, " of {}", service.namespace)?;
            }
            if *share < 1.0 {
                write!(f, ", {} of the rule by weight", percent(*share))?;
            }
            if *of_backend < 1.0 {
                write!(f, ", {} of its pods", percent(*of_backend))?;
            }
            writeln!(f)?;
            for (index, cluster) in clusters.iter().enumerate() {
                self.cluster(f, cluster, index > 0)?;
            }
        }
        more(f, self.traffic.len())
    }

    fn cluster(&self, f: &mut Formatter<'_>, cluster: &ExplainedCluster, split: bool) -> fmt::Result {
        let ExplainedCluster { name, part, readings, rate_limited } = cluster;
        writeln!(f, "  cluster {name}")?;
        if split && readings.iter().all(|reading| reading.value == Some(0.0)) {
            return writeln!(f, "    nothing; used when Envoy Gateway splits the rule");
        }
        for ExplainedReading { signal, value, problem, .. } in readings {
            let unit = self.signals.iter().find(|of| of.signal == *signal).map_or("", |of| of.unit);
            match value {
                Some(value) if *part < 1.0 => {
                    writeln!(f, "    {} of {value:.1} {unit} = {:.1}", percent(*part), value * part)?;
                }
                Some(value) => writeln!(f, "    {value:.1} {unit}")?,
                // The cluster's name is in the line above already.
                None => {
                    let problem = problem.as_deref().unwrap_or("no value");
                    let problem = problem.strip_prefix(&format!("cluster {name}: ")).unwrap_or(problem);
                    paragraph(f, "    ", &format!("{signal}: {problem}"))?;
                }
            }
        }
        let refused = rate_limited.map(|rate| format!("{rate:.1} requests/s refused by a rate limit: not demand"));
        refused.map_or(Ok(()), |refused| paragraph(f, "    ", &refused))
    }

    fn changes(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if self.changes.is_empty() {
            return Ok(());
        }
        writeln!(f, "\nLAST CHANGES (tidegate history has all)")?;
        self.changes.iter().try_for_each(|told| {
            let Change { at, from, to, .. } = told.change;
            let number = |wanted: Option<u32>| wanted.map_or_else(|| "?".to_owned(), |wanted| wanted.to_string());
            let numbers = if from == to { number(to) } else { format!("{} → {}", number(from), number(to)) };
            let at = at.to_rfc3339_opts(SecondsFormat::Secs, true);
            paragraph(f, "  ", &format!("{at} {numbers}: {} ({})", told.sentence, told.who))
        })
    }

    fn sources(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let answering = self.sources.iter().filter(|source| source.error.is_none());
        let oldest = answering.clone().filter_map(|source| source.last_success_seconds).fold(0.0, f64::max);
        let count = answering.count();
        let elsewhere =
            |signal: &ExplainedSignal| signal.signal.family() != Family::Kafka && signal.signal != Signal::Schedule;
        if self.sources.is_empty() && !self.signals.iter().any(elsewhere) {
            return Ok(());
        }
        match self.sources.len() {
            0 => writeln!(f, "\nNothing measures: no proxy and no Prometheus is known."),
            all if count == 0 => writeln!(f, "\nSources: 0 of {all} answer."),
            all => writeln!(f, "\nSources: {count} of {all} {}, {oldest:.0} s ago at most.", verb(count)),
        }
    }
}

fn count(replicas: u32) -> String {
    if replicas == 1 { "1 replica".to_owned() } else { format!("{replicas} replicas") }
}

fn verb(count: usize) -> &'static str {
    if count == 1 { "answers" } else { "answer" }
}

fn percent(part: f64) -> String {
    let percent = part * 100.0;
    // Half of a third (16.7 %) needs a decimal, 90 % does not.
    if (percent - percent.round()).abs() < 0.05 { format!("{percent:.0} %") } else { format!("{percent:.1} %") }
}

pub(super) fn section(f: &mut Formatter<'_>, title: &str, items: &[String]) -> fmt::Result {
    if items.is_empty() {
        return Ok(());
    }
    writeln!(f, "\n{title}")?;
    for item in items.iter().take(SHOWN) {
        paragraph(f, "- ", item)?;
    }
    more(f, items.len())
}

fn more(f: &mut Formatter<'_>, all: usize) -> fmt::Result {
    match all.saturating_sub(SHOWN) {
        0 => Ok(()),
        more => writeln!(f, "… and {more} more; -o json has them all"),
    }
}

/// Breaks lines at spaces. A word without spaces, such as a cluster's name, stays whole so that it can be copied.
pub(super) fn paragraph(f: &mut Formatter<'_>, bullet: &str, text: &str) -> fmt::Result {
    let indent = bullet.chars().count();
    let mut column = indent;
    write!(f, "{bullet}")?;
    for (index, word) in text.split_whitespace().enumerate() {
        let width = word.chars().count();
        if index > 0 && column + 1 + width > WIDTH {
            write!(f, "\n{:indent$}{word}", "")?;
            column = indent + width;
        } else {
            let space = if index > 0 { " " } else { "" };
            write!(f, "{space}{word}")?;
            column += space.len() + width;
        }
    }
    writeln!(f)
}
