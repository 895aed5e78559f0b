//! Flags that all commands for people have in common, named as `kubectl` names them.

use std::{path::PathBuf, time::Duration};

/// The cluster, and the identity to ask it with.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Cluster")]
pub(crate) struct ClusterArgs {
    /// The kubeconfig [default: $KUBECONFIG, else ~/.kube/config, else the pod's own service account]
    #[arg(long, value_name = "FILE")]
    pub(crate) kubeconfig: Option<PathBuf>,
    /// The context of the kubeconfig [default: its current one]
    #[arg(long, value_name = "NAME")]
    pub(crate) context: Option<String>,
    /// Ask as this user, for which you need the permission to impersonate
    #[arg(long = "as", value_name = "USER")]
    pub(crate) user: Option<String>,
    /// Ask as a member of this group; repeat for several
    #[arg(long = "as-group", value_name = "GROUP", requires = "user")]
    pub(crate) groups: Vec<String>,
    /// How long to wait for each answer; nothing is asked twice
    #[arg(long, default_value = "5s", value_name = "TIME", value_parser = humantime::parse_duration)]
    pub(crate) request_timeout: Duration,
}

/// Where the Tidegate is that is asked.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Tidegate")]
pub(crate) struct InstalledArgs {
    /// Where Tidegate is installed
    #[arg(long, env = "TIDEGATE_SYSTEM_NAMESPACE", default_value = "tidegate-system", value_name = "NAMESPACE")]
    pub(crate) system_namespace: String,
    /// The name of its Service there
    #[arg(long, env = "TIDEGATE_SERVICE", default_value = "tidegate", value_name = "NAME")]
    pub(crate) service: String,
    /// Ask this admin server directly instead of through the Kubernetes API, such as http://127.0.0.1:8080
    #[arg(long, env = "TIDEGATE_ADMIN", value_name = "URL")]
    pub(crate) admin: Option<String>,
}

/// The pods of that Tidegate, for what only one of them knows.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Tidegate")]
pub(crate) struct PodsArgs {
    #[command(flatten)]
    pub(crate) installed: InstalledArgs,
    /// The name of its Helm release
    #[arg(long, env = "TIDEGATE_RELEASE", default_value = "tidegate", value_name = "NAME")]
    pub(crate) release: String,
    #[command(flatten)]
    pub(crate) admin: AdminPortArgs,
}

#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Tidegate")]
pub(crate) struct AdminPortArgs {
    /// The port of its admin server
    #[arg(long, default_value = "8080", value_name = "PORT")]
    pub(crate) admin_port: u16,
}

/// The namespace of the objects.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct NamespaceArgs {
    /// Their namespace [default: the kubeconfig's]
    #[arg(long, short, value_name = "NAMESPACE")]
    pub(crate) namespace: Option<String>,
}

/// The namespace of the objects, or all.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct ScopeArgs {
    #[command(flatten)]
    pub(crate) within: NamespaceArgs,
    /// All namespaces
    #[arg(long, short = 'A', conflicts_with = "namespace")]
    pub(crate) all_namespaces: bool,
}

/// The rows of a list.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct RowsArgs {
    #[command(flatten)]
    pub(crate) scope: ScopeArgs,
    /// Only objects with these labels, as kubectl takes them: team=payments,tier!=batch
    #[arg(long, short = 'l', value_name = "LABELS")]
    pub(crate) selector: Option<String>,
}
