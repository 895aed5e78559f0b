//! Reports to the owners of EnvoyProxies which statistics these leave out: without them nothing scales, and nobody would see why.

use std::{fmt, time::Duration};

use k8s_openapi::api::core::v1::ObjectReference;
use tidegate_cluster::{Kind, LeftOut, LeftOutStatistics, MATCH_CLUSTERS, MATCH_LISTENERS, Missing};
use tidegate_core::{
    event::{Notice, Reason},
    fleet::EnvoyProxyId,
    plan::Plan,
};
use tokio::time::Instant;

use crate::{
    context::{Context, Pass},
    events::{self, Events},
};

const ROUND: Duration = Duration::from_secs(10);

/// An EnvoyProxy leaves out statistics that Tidegate reads.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct StatisticsLeftOut(Missing);

impl fmt::Display for StatisticsLeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Missing::Page => write!(
                f,
                "telemetry.metrics.prometheus.disable is true: the proxies serve no statistics, so that traffic is not known and \
                 replicas are held. Remove it, or have the proxies push (OpenTelemetry) and run Tidegate with --source=otlp"
            ),
            Missing::Statistics(statistics) => write_statistics(f, statistics),
        }
    }
}

/// Writes the fix before the parts that may be long: an event's text is cut at its end.
fn write_statistics(f: &mut fmt::Formatter<'_>, statistics: &LeftOutStatistics) -> fmt::Result {
    let LeftOutStatistics { of_clusters, of_listeners, example, unreadable } = statistics;
    let names: Vec<_> = of_clusters.iter().chain(of_listeners).copied().collect();
    write!(
        f,
        "telemetry.metrics.matches leaves out what Tidegate reads: {}. It is not known then, so replicas are held. Add to \
         matches:",
        names.join(", ")
    )?;
    for (left_out, value) in [(of_clusters, MATCH_CLUSTERS), (of_listeners, MATCH_LISTENERS)] {
        if !left_out.is_empty() {
            write!(f, " - {{type: RegularExpression, value: '{value}'}}")?;
        }
    }
    if let Some(first) = unreadable.first() {
        write!(f, " ({} of its regular expressions cannot be read, such as {first:.80})", unreadable.len())?;
    }
    write!(f, ". Left out is, for example, {example}")
}

impl Notice for StatisticsLeftOut {
    fn reason(&self) -> Reason {
        Reason::StatisticsLeftOut
    }
}

/// Reports each EnvoyProxy, while this replica leads. `scraped` says that the proxies' page of statistics is read.
pub async fn report_left_out(scraped: bool, context: Context) {
    let reports = Reports { scraped, events: context.events() };
    context.every(ROUND, reports).await;
}

struct Reports {
    scraped: bool,
    events: Events<StatisticsLeftOut>,
}

impl Pass for Reports {
    async fn pass(&mut self, plan: &Plan, context: &Context) -> Instant {
        let found = context.watches.objects(|objects| objects.left_out(plan, self.scraped));
        report(&mut self.events, found).await;
        Instant::now()
    }
}

async fn report(events: &mut Events<StatisticsLeftOut>, found: Vec<LeftOut>) {
    let all = found.into_iter().map(|left_out| (reference(&left_out), vec![StatisticsLeftOut(left_out.missing)]));
    events.publish_all(all.collect()).await;
}

fn reference(left_out: &LeftOut) -> ObjectReference {
    let EnvoyProxyId { namespace, name } = &left_out.envoy_proxy;
    events::reference(Kind::EnvoyProxy, namespace, name, Some(left_out.uid.clone()))
}

#[cfg(test)]
mod tests;
