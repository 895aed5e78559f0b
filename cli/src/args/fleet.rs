//! Flags of the commands that show all workloads, and what became of them.

use std::time::Duration;

use clap::ValueEnum;

use super::{
    cluster::{AdminPortArgs, ClusterArgs, InstalledArgs, NamespaceArgs, PodsArgs, RowsArgs, ScopeArgs},
    output::{ListOutput, Output},
    sources::PrometheusArgs,
};

#[derive(Debug, clap::Args)]
pub(crate) struct HistoryArgs {
    /// deployment/NAME, or another TYPE/NAME that is scaled; several, or TYPE NAME…
    #[arg(value_name = "TYPE/NAME", required = true)]
    pub(crate) objects: Vec<String>,
    #[command(flatten)]
    pub(crate) within: NamespaceArgs,
    /// How far back to look. Tidegate remembers some days; a Prometheus (--prometheus-url) as long as it keeps its data
    #[arg(long, default_value = "24h", value_name = "TIME", value_parser = humantime::parse_duration)]
    pub(crate) since: Duration,
    /// How to print
    #[arg(long, short, default_value = "table", value_enum)]
    pub(crate) output: Output,
    #[command(flatten)]
    pub(crate) installed: InstalledArgs,
    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,
    /// The label with the workloads' namespace; exported_namespace where the scrape config sets namespace itself
    #[arg(long, default_value = "namespace", value_name = "LABEL", help_heading = "Prometheus")]
    pub(crate) namespace_label: String,
    #[command(flatten, next_help_heading = "Prometheus")]
    pub(crate) prometheus: PrometheusArgs,
}

#[derive(Debug, clap::Args)]
pub(crate) struct GetArgs {
    /// workloads, gateways, a type such as deployments, or TYPE/NAME, or TYPE NAME… [default: workloads and gateways]
    #[arg(value_name = "TYPE[/NAME]")]
    pub(crate) objects: Vec<String>,
    #[command(flatten)]
    pub(crate) rows: RowsArgs,
    /// How to print
    #[arg(long, short, default_value = "table", value_enum)]
    pub(crate) output: ListOutput,
    /// Draw it again every two seconds, until Ctrl-C
    #[arg(long, short)]
    pub(crate) watch: bool,
    #[command(flatten)]
    pub(crate) installed: InstalledArgs,
    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,
}

#[derive(Debug, clap::Args)]
pub(crate) struct TopArgs {
    #[command(flatten)]
    pub(crate) rows: RowsArgs,
    /// What stands first
    #[arg(long, default_value = "state", value_enum, value_name = "COLUMN")]
    pub(crate) sort_by: SortBy,
    /// Only rows whose name, namespace, state or reason contains this
    #[arg(long, value_name = "TEXT")]
    pub(crate) filter: Option<String>,
    #[command(flatten)]
    pub(crate) installed: InstalledArgs,
    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,
}

/// The order of the rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum SortBy {
    /// What is wrong first, what is steady last
    State,
    /// By namespace and name
    Name,
    /// The most replicas first
    Wanted,
    /// What lacks most first: replicas that are wanted and not ready
    Missing,
    /// What changes soonest first: the next opening or closing
    NextChange,
}

#[derive(Debug, clap::Args)]
pub(crate) struct DashboardArgs {
    /// The port on this machine; 0 takes a free one
    #[arg(long, default_value = "0", value_name = "PORT")]
    pub(crate) port: u16,
    /// Do not open a browser: only print the address
    #[arg(long)]
    pub(crate) no_open: bool,
    #[command(flatten)]
    pub(crate) installed: InstalledArgs,
    #[command(flatten)]
    pub(crate) admin: AdminPortArgs,
    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ProblemsArgs {
    #[command(flatten)]
    pub(crate) scope: ScopeArgs,
    /// How to print
    #[arg(long, short, default_value = "table", value_enum)]
    pub(crate) output: Output,
    #[command(flatten)]
    pub(crate) pods: PodsArgs,
    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,
}
