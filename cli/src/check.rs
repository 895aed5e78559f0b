//! `tidegate check`: whether a cluster has what Tidegate needs, and whether what is installed works.
//!
//! [`Site`] asks the cluster for everything at once. The checks are functions of that, in one table.

mod access;
mod finding;
mod keda;
mod left_over;
mod object;
mod permissions;
mod running;
mod site;
mod versions;
mod workloads;

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    io::{Write, stdout},
};

use anyhow::Result;
use chrono::Utc;
use serde::Serialize;

use self::{
    finding::{Finding, Level},
    site::Site,
};
use crate::{
    args::CheckArgs,
    cluster::Cluster,
    exit::Exit,
    paint::{Colour, Paint},
    tidegate::Tidegate,
};

/// One check.
struct Check {
    category: &'static str,
    name: &'static str,
    /// Whether it applies before Tidegate is installed
    pre: bool,
    /// A page of the documentation
    link: &'static str,
    find: fn(&Site) -> Vec<Finding>,
}

const PRE: bool = true;
const POST: bool = false;

/// The table of checks, in the order of the output.
const CHECKS: &[Check] = &[
    check("kubernetes", "the API server answers", PRE, "docs/reference/commands.md", versions::kubernetes),
    check("kubernetes", "the clocks agree", PRE, "docs/hours.md", versions::clocks),
    check("kubernetes", "HPAs take a tolerance of their own", PRE, "docs/annotations.md", versions::tolerance),
    check("gateways", "the Gateway API is installed", PRE, "docs/routes.md", versions::gateway_api),
    check("gateways", "Envoy Gateway is installed", PRE, "docs/routes.md", versions::envoy_gateway),
    check("gateways", "Envoy Gateway runs", PRE, "docs/routes.md", versions::envoy_gateway_runs),
    check("keda", "KEDA is installed", PRE, "charts/tidegate/README.md", versions::keda),
    check("keda", "KEDA runs", PRE, "charts/tidegate/README.md", keda::runs),
    check("keda", "KEDA reaches Tidegate", POST, "docs/architecture.md", keda::reaches_tidegate),
    check("keda", "the scaler's certificate is valid", POST, "charts/tidegate/README.md", keda::certificate),
    check("tidegate", "Tidegate's own kinds are installed", POST, "docs/hours.md", versions::own_kinds),
    check("tidegate", "there is one release of Tidegate", PRE, "docs/architecture.md", running::one_release),
    check("tidegate", "Tidegate is ready", POST, "docs/architecture.md", running::ready),
    check("tidegate", "every source answers", POST, "docs/architecture.md", running::sources),
    check("tidegate", "the versions agree", POST, "docs/releasing.md", running::versions),
    check("permissions", "you may do what the commands need", POST, "charts/tidegate/README.md", permissions::of_user),
    check("permissions", "Tidegate may do what it needs", POST, "charts/tidegate/README.md", permissions::of_tidegate),
    check("left over", "every ScaledObject has its workload", POST, "docs/architecture.md", left_over::scaled_objects),
    check("left over", "every EndpointSlice has its Tidegate", POST, "docs/zero.md", left_over::slices),
    check("left over", "every Lease is held", POST, "docs/architecture.md", left_over::leases),
    check("workloads", "no workload has a problem", POST, "docs/reference/events.md", workloads::problems),
];

const fn check(
    category: &'static str,
    name: &'static str,
    pre: bool,
    link: &'static str,
    find: fn(&Site) -> Vec<Finding>,
) -> Check {
    Check { category, name, pre, link, find }
}

/// Most lines of one check on the page.
const SHOWN: usize = 10;
/// Where links lead to.
const PAGES: &str = concat!(env!("CARGO_PKG_REPOSITORY"), "/blob/main/");

/// A finding as a line of the result.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    category: &'static str,
    name: &'static str,
    #[serde(flatten)]
    finding: Finding,
    #[serde(skip_serializing_if = "Option::is_none")]
    link: Option<String>,
}

pub(crate) async fn run(args: CheckArgs) -> Result<()> {
    let cluster = Cluster::connect(&args.cluster).await?;
    let tidegate = Tidegate::in_cluster(cluster.clone(), &args.installed);
    let site = Site::look(cluster, &tidegate, &args.installed, args.pre, Utc::now()).await;
    let lines = lines(&site, args.pre);
    let mut out = stdout().lock();
    match args.output.format() {
        Some(format) => format.write(&lines, &mut out)?,
        None => write!(out, "{}", page(&lines, Paint::of_stdout()))?,
    }
    let worst = lines.iter().map(|line| line.finding.level).max();
    if worst == Some(Level::Failure) { Err(Exit::Wrong.silently().into()) } else { Ok(()) }
}

fn lines(site: &Site, pre: bool) -> Vec<Line> {
    let due = CHECKS.iter().filter(|check| check.pre || !pre);
    let of_check = |check: &'static Check| {
        (check.find)(site).into_iter().map(move |finding| {
            let link = (finding.level != Level::Ok).then(|| format!("{PAGES}{}", check.link));
            Line { category: check.category, name: check.name, finding, link }
        })
    };
    due.flat_map(of_check).collect()
}

fn page(lines: &[Line], paint: Paint) -> String {
    let (mut text, mut category) = (String::new(), "");
    let mut shown = BTreeMap::<_, usize>::new();
    for Line { category: of, name, finding, link } in lines {
        if category != *of {
            let gap = if category.is_empty() { "" } else { "\n" };
            let _ = writeln!(text, "{gap}{}", paint.paint(Colour::Bold, of));
            category = of;
        }
        let times = shown.entry(name).or_default();
        *times += 1;
        if *times > SHOWN {
            continue;
        }
        let (mark, colour) = match finding.level {
            Level::Ok => ("√", Colour::Green),
            Level::Warning => ("‼", Colour::Yellow),
            Level::Failure => ("×", Colour::Red),
        };
        let detail = if finding.detail.is_empty() { String::new() } else { format!(": {}", finding.detail) };
        let _ = writeln!(text, "{} {name}{detail}", paint.paint(colour, mark));
        for more in [Some(&finding.remedy), link.as_ref()].into_iter().flatten().filter(|more| !more.is_empty()) {
            let _ = writeln!(text, "    {more}");
        }
    }
    for (name, times) in shown.iter().filter(|(_, times)| **times > SHOWN) {
        let _ = writeln!(text, "\n{name}: {} more, which -o json shows", times - SHOWN);
    }
    let of_level = |level| lines.iter().filter(|line| line.finding.level == level).count();
    let (warnings, failures) = (of_level(Level::Warning), of_level(Level::Failure));
    let _ = writeln!(text, "\n{} checks: {failures} failed, {warnings} with a warning", lines.len());
    text
}

#[cfg(test)]
mod tests;
