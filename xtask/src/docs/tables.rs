//! Pages of the tables in `core`: keys, events, metrics, probes.

use std::fmt::Write;

use tidegate_core::{
    event::{About, Reason},
    key::{Key, PREFIX, Place, Topic},
    metric::Metric,
    wake::PROBES,
};

/// The title of a section of the page of annotations.
fn title(topic: Topic) -> &'static str {
    match topic {
        Topic::Traffic => "Traffic",
        Topic::Kafka => "Kafka",
        Topic::Models => "LLM servers",
        Topic::Query => "A PromQL query",
        Topic::Beside => "KEDA's own triggers",
        Topic::Bounds => "Bounds and behaviour",
        Topic::Hours => "Business hours",
        Topic::Gateway => "On Gateways",
        Topic::Namespace => "On Namespaces",
    }
}

pub(super) fn annotations() -> String {
    let mut page = format!(
        "# Annotations\n\nAll keys begin with `{PREFIX}`. Values are texts, so numbers are quoted. W is a Deployment, a StatefulSet or [another workload](../kinds.md), \
         G a Gateway, N a Namespace, whose values are defaults for the objects in it. The name in a trigger's metadata is for \
         [ScaledObjects of your own](../annotations.md#the-same-keys-in-a-scaledobject-of-your-own).\n"
    );
    for topic in Topic::ALL {
        let _ = write!(
            page,
            "\n## {}\n\n| key | on | meaning | value | default | example | in a trigger |\n",
            title(topic)
        );
        page.push_str("|---|---|---|---|---|---|---|\n");
        for key in Key::ALL.iter().filter(|key| key.topic() == topic) {
            let _ = writeln!(
                page,
                "| `{}` | {} | {} | {} | {} | `{}` | `{}` |",
                key.name(),
                places(*key),
                key.meaning(),
                key.kind().wanted(),
                default(*key),
                key.example(),
                key.camel_case(),
            );
        }
    }
    page
}

fn places(key: Key) -> String {
    let letter = |place: &Place| match place {
        Place::Workload => "W",
        Place::Gateway => "G",
        Place::Namespace => "N",
    };
    key.places().iter().map(letter).collect::<Vec<_>>().join(" ")
}

/// The default of a key: words as they are, a value as code.
fn default(key: Key) -> String {
    match key.default() {
        None => "none".to_owned(),
        Some(words) if words.contains(' ') => words.to_owned(),
        Some(value) => format!("`{value}`"),
    }
}

/// A line for each topic, for the README.
pub(super) fn keys_in_short() -> String {
    let mut table = format!("| `{PREFIX}…` | |\n|---|---|\n");
    for topic in Topic::ALL {
        let keys = Key::ALL.iter().filter(|key| key.topic() == topic);
        let names: Vec<_> = keys.map(|key| format!("`{}`", key.name())).collect();
        let _ = writeln!(table, "| {} | {} |", title(topic), names.join(", "));
    }
    table
}

pub(super) fn events() -> String {
    let mut page = "# Events\n\nTidegate writes an event once, and again when it comes back. Warnings are repeated each day that they \
                    last, stand in the log, and are counted by `tidegate_workload_problems{reason}` on the pod that leads. \
                    `kubectl describe` shows those of Namespaces and Calendars, which Kubernetes keeps in the namespace `default`.\n"
        .to_owned();
    for about in About::ALL {
        let title = match about {
            About::Workload => "On Deployments, StatefulSets and their Namespaces",
            About::Gateway => "On Gateways",
            About::Switched => "On ScaledObjects of your own, CronJobs and DaemonSets that hours switch",
            About::EnvoyProxy => "On EnvoyProxies",
            About::Calendar => "On Calendars",
        };
        let _ = write!(page, "\n## {title}\n\n| reason | type | meaning | what to do |\n|---|---|---|---|\n");
        for reason in Reason::ALL.iter().filter(|reason| reason.about().contains(&about)) {
            let kind = if reason.is_warning() { "Warning" } else { "Normal" };
            let (name, meaning, remedy) = (reason.as_str(), reason.meaning(), reason.remedy());
            let anchor = name.to_lowercase();
            let _ = writeln!(page, "| [`{name}`](../troubleshooting.md#{anchor}) | {kind} | {meaning} | {remedy} |");
        }
    }
    page
}

pub(super) fn metrics() -> String {
    let mut page = "# Metrics\n\n`/metrics` of the admin port (8080) serves these. Units are Prometheus' base units, and stand in the names. A \
                    metric with labels appears with its first value.\n\n| metric | type | labels | meaning |\n|---|---|---|---|\n"
        .to_owned();
    for metric in Metric::ALL {
        let labels: Vec<_> = metric.labels().iter().map(|label| format!("`{label}`")).collect();
        let (name, kind) = (metric.name(), metric.kind().as_str());
        let _ = writeln!(page, "| `{name}` | {kind} | {} | {} |", labels.join(", "), metric.help());
    }
    page
}

pub(super) fn probes() -> String {
    let mut page = "# Probes\n\nGET and HEAD requests of these programs, and their gRPC health checks, wake no workload. While no pod is ready \
                    they get the answer below at once; with a ready pod they are passed on. The beginning of `user-agent` counts, in upper \
                    or lower case. `tidegate.dev/wake-ignore` adds others.\n\n| program | `user-agent` | answer |\n|---|---|---|\n"
        .to_owned();
    for probe in PROBES {
        let _ = writeln!(page, "| {} | `{}…` | {} |", probe.program, probe.user_agent, probe.answer.status());
    }
    page
}
