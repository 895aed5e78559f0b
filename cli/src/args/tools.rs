//! Flags of the commands about the command itself.

use std::{ffi::OsString, path::PathBuf};

use clap_complete::Shell;

use super::{
    cluster::{ClusterArgs, InstalledArgs},
    output::Output,
};

#[derive(Debug, clap::Args)]
pub(crate) struct VersionArgs {
    /// This command's own version alone, without a cluster
    #[arg(long)]
    pub(crate) client: bool,
    /// How to print
    #[arg(long, short, default_value = "table", value_enum)]
    pub(crate) output: Output,
    #[command(flatten)]
    pub(crate) installed: InstalledArgs,
    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,
}

#[derive(Debug, clap::Args)]
pub(crate) struct CheckArgs {
    /// Only what Tidegate needs of a cluster, before it is installed
    #[arg(long)]
    pub(crate) pre: bool,
    /// How to print
    #[arg(long, short, default_value = "table", value_enum)]
    pub(crate) output: Output,
    #[command(flatten)]
    pub(crate) installed: InstalledArgs,
    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,
}

#[derive(Debug, clap::Args)]
pub(crate) struct CompletionArgs {
    /// The shell that the script is for
    #[arg(value_enum)]
    pub(crate) shell: Shell,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ManArgs {
    /// The folder that the pages are written to
    #[arg(value_name = "DIR")]
    pub(crate) folder: PathBuf,
}

#[derive(Debug, clap::Args)]
pub(crate) struct WithParentArgs {
    /// The process that starts this one
    #[arg(value_name = "PID")]
    pub(crate) parent: u32,
    /// The program, and its arguments
    #[arg(value_name = "COMMAND", required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) command: Vec<OsString>,
}
