//! Flags of the commands that ask an installed Tidegate, and of the demonstration.

use std::{path::PathBuf, time::Duration};

use super::{
    cluster::{ClusterArgs, InstalledArgs, NamespaceArgs, PodsArgs},
    output::Output,
    sources::PrometheusArgs,
};

#[derive(Debug, clap::Args)]
pub(crate) struct ExplainArgs {
    /// deployment/NAME, another TYPE/NAME that is scaled, such as rollout/NAME, or gateway/NAME; several, or TYPE NAME…
    #[arg(value_name = "TYPE/NAME", required = true)]
    pub(crate) objects: Vec<String>,
    #[command(flatten)]
    pub(crate) within: NamespaceArgs,
    /// How to print
    #[arg(long, short, default_value = "table", value_enum)]
    pub(crate) output: Output,
    /// Draw it again every two seconds, until Ctrl-C
    #[arg(long, short, conflicts_with = "output")]
    pub(crate) watch: bool,
    #[command(flatten)]
    pub(crate) installed: InstalledArgs,
    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,
}

#[derive(Debug, clap::Args)]
pub(crate) struct WakeArgs {
    /// deployment/NAME, another TYPE/NAME that is scaled, such as rollout/NAME, gateway/NAME or namespace/NAME; several, or TYPE NAME…
    #[arg(value_name = "TYPE/NAME", required = true)]
    pub(crate) objects: Vec<String>,
    /// For how long from now
    #[arg(long = "for", default_value = "2h", value_name = "TIME", value_parser = humantime::parse_duration)]
    pub(crate) time: Duration,
    #[command(flatten)]
    pub(crate) within: NamespaceArgs,
    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,
}

#[derive(Debug, clap::Args)]
pub(crate) struct SavingsArgs {
    /// How far back to look; needs --prometheus-url, which remembers what was before a restart
    #[arg(long, default_value = "30d", value_name = "TIME")]
    pub(crate) range: String,
    /// The label with the workloads' namespace; exported_namespace where the scrape config sets namespace itself
    #[arg(long, default_value = "namespace", value_name = "LABEL")]
    pub(crate) namespace_label: String,
    /// The price of a core for an hour, in any currency
    #[arg(long, value_name = "PRICE", requires = "price_per_gib_hour")]
    pub(crate) price_per_core_hour: Option<f64>,
    /// The price of a GiB of memory for an hour
    #[arg(long, value_name = "PRICE", requires = "price_per_core_hour")]
    pub(crate) price_per_gib_hour: Option<f64>,
    /// How to print
    #[arg(long, short, default_value = "table", value_enum)]
    pub(crate) output: Output,
    #[command(flatten)]
    pub(crate) pods: PodsArgs,
    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,
    #[command(flatten, next_help_heading = "Prometheus")]
    pub(crate) prometheus: PrometheusArgs,
}

#[derive(Debug, clap::Args)]
pub(crate) struct DemoArgs {
    /// The manifests of the example
    #[arg(long, default_value = "examples/task-api/simple.yaml", value_name = "FILE")]
    pub(crate) manifest: PathBuf,
    /// The Envoy to run
    #[arg(long, env = "TIDEGATE_ENVOY", default_value = "envoy", value_name = "PATH")]
    pub(crate) envoy: PathBuf,
    /// The backend to run once per replica [default: task-api beside this binary]
    #[arg(long, env = "TIDEGATE_TASK_API", value_name = "PATH")]
    pub(crate) task_api: Option<PathBuf>,
    /// How long the changing load runs
    #[arg(long, default_value = "180s", value_name = "TIME", value_parser = humantime::parse_duration)]
    pub(crate) duration: Duration,
    /// Where the chart goes
    #[arg(long, default_value = "demo-report.html", value_name = "FILE")]
    pub(crate) report: PathBuf,
    /// Open the chart in a browser at the end
    #[arg(long)]
    pub(crate) open: bool,
}
