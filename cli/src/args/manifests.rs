//! Flags of the commands that read manifests.

use std::path::PathBuf;

use super::{
    cluster::ClusterArgs,
    output::Output,
    scale_kinds::ScaleKindArgs,
    service::{ConfigurationArgs, ControllerArgs, ScalerEndpointArgs},
};

#[derive(Debug, clap::Args)]
pub(crate) struct RenderArgs {
    /// Manifests: files or folders; - is stdin
    #[arg(long = "file", short, required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    /// The namespace of objects that name none [default: none is written]
    #[arg(long, short, value_name = "NAMESPACE")]
    pub(crate) namespace: Option<String>,
    #[command(flatten)]
    pub(crate) controllers: ControllerArgs,
    #[command(flatten)]
    pub(crate) scaler: ScalerEndpointArgs,
    /// The release of Tidegate that the ScaledObjects are of: the namespace and the name of its Lease
    #[arg(long, default_value = "tidegate-system.tidegate", value_name = "NAMESPACE.NAME")]
    pub(crate) release: String,
    /// As in the chart's values: annotations on other kinds are reported [default: every kind that is known]
    #[command(flatten)]
    pub(crate) scaled: ScaleKindArgs,
    /// As where the chart's activator.enabled is false: requests to workloads without replicas are not held
    #[arg(long)]
    pub(crate) no_activator: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct MigrateArgs {
    /// Manifests: files or folders; - is stdin
    #[arg(long = "file", short, required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    /// How to print the patches
    #[arg(long, short, default_value = "yaml", value_enum)]
    pub(crate) output: PatchFormat,
}

/// How patches are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum PatchFormat {
    /// One YAML document per object, for kustomize or server-side apply
    Yaml,
    /// One kubectl patch per object, for a shell
    Kubectl,
    /// One List in JSON
    Json,
}

#[derive(Debug, clap::Args)]
pub(crate) struct RoutesArgs {
    /// Manifests: files or folders; - is stdin [default: the cluster of the kubeconfig]
    #[arg(long = "file", short, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    /// The namespace of objects in files that name none [default: default]
    #[arg(long, short, value_name = "NAMESPACE", requires = "files")]
    pub(crate) namespace: Option<String>,
    /// How to print
    #[arg(long, short, default_value = "table", value_enum)]
    pub(crate) output: Output,
    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,
    #[command(flatten, next_help_heading = "As the service has them")]
    pub(crate) controllers: ControllerArgs,
    #[command(flatten, next_help_heading = "As the service has them")]
    pub(crate) configuration: ConfigurationArgs,
    #[command(flatten, next_help_heading = "As the service has them")]
    pub(crate) scaled: ScaleKindArgs,
}
