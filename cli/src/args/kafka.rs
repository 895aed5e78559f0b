//! The arguments of `tidegate kafka`.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use tidegate_scaler::sources::kafka::KafkaSettings;

use super::output::Output;

#[derive(Debug, Subcommand)]
pub(crate) enum KafkaCommand {
    /// Tries whether a Kafka cluster can be used, step by step, and says what is missing
    #[command(
        after_help = "Examples:\n  tidegate kafka check events --kafka-config kafka.yaml --topic orders --group billing\n  kubectl -n tidegate-system exec deploy/tidegate -- tidegate kafka check default --topic orders --group billing"
    )]
    Check(KafkaCheckArgs),
}

#[derive(Debug, Args)]
pub(crate) struct KafkaCheckArgs {
    /// The cluster's name in the configuration
    #[arg(default_value = "default")]
    pub(crate) name: String,
    /// The Kafka clusters by name; by default the file that the chart mounts
    #[arg(long, env = "TIDEGATE_KAFKA_CONFIG", default_value = "/etc/tidegate/kafka/kafka.yaml", value_name = "FILE")]
    pub(crate) kafka_config: PathBuf,
    /// A topic that a workload's lag is of, or a pattern between slashes: lists the topics that match; repeat for several
    #[arg(long = "topic", value_name = "TOPIC")]
    pub(crate) topics: Vec<String>,
    /// A consumer group whose lag counts; repeat for several
    #[arg(long = "group", value_name = "GROUP")]
    pub(crate) groups: Vec<String>,
    /// How to print
    #[arg(long, short, default_value = "table", value_enum)]
    pub(crate) output: Output,
}

/// Reads the Kafka clusters from the file of `--kafka-config`.
pub(crate) fn kafka_clusters(file: &Path) -> Result<KafkaSettings> {
    let shown = file.display();
    let text = fs::read_to_string(file).with_context(|| format!("--kafka-config {shown}"))?;
    tidegate_core::yaml::read(&text).with_context(|| format!("--kafka-config {shown}"))
}
