//! `tidegate kafka check`: whether a Kafka cluster can be used, and what is missing.

use std::{
    fs,
    io::{IsTerminal, Write, stdout},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use clap::Subcommand;
use tidegate_scaler::sources::kafka::{self, KafkaSettings, Step};
use tokio::task::spawn_blocking;

use crate::args::Output;

#[derive(Debug, Subcommand)]
pub(crate) enum KafkaCommand {
    /// Tries whether a Kafka cluster can be used, step by step, and says what is missing
    #[command(
        after_help = "Examples:\n  tidegate kafka check events --kafka-config kafka.yaml --topic orders --group billing\n  kubectl -n tidegate-system exec deploy/tidegate -- tidegate kafka check default --topic orders --group billing"
    )]
    Check(KafkaCheckArgs),
}

#[derive(Debug, clap::Args)]
pub(crate) struct KafkaCheckArgs {
    /// The cluster's name in the configuration
    #[arg(default_value = "default")]
    pub(crate) name: String,
    /// The Kafka clusters by name; by default the file that the chart mounts
    #[arg(long, env = "TIDEGATE_KAFKA_CONFIG", default_value = "/etc/tidegate/kafka/kafka.yaml", value_name = "FILE")]
    pub(crate) kafka_config: PathBuf,
    /// A topic that a workload's lag is of; repeat for several
    #[arg(long = "topic", value_name = "TOPIC")]
    pub(crate) topics: Vec<String>,
    /// A consumer group whose lag counts; repeat for several
    #[arg(long = "group", value_name = "GROUP")]
    pub(crate) groups: Vec<String>,
    /// How to print
    #[arg(long, short, default_value = "table", value_enum)]
    pub(crate) output: Output,
}

/// Reads the clusters of a file.
pub(crate) fn settings(file: &Path) -> Result<KafkaSettings> {
    let shown = file.display();
    let text = fs::read_to_string(file).with_context(|| format!("--kafka-config {shown}"))?;
    serde_yaml_ng::from_str(&text).with_context(|| format!("--kafka-config {shown}"))
}

pub(crate) async fn run(command: KafkaCommand) -> Result<()> {
    match command {
        KafkaCommand::Check(args) => check(args).await,
    }
}

async fn check(args: KafkaCheckArgs) -> Result<()> {
    let mut clusters = settings(&args.kafka_config)?.clusters;
    let Some(cluster) = clusters.remove(&args.name) else {
        let known: Vec<_> = clusters.into_keys().collect();
        let file = args.kafka_config.display();
        bail!("no Kafka cluster is called {}; {file} has {}", args.name, known.join(", "));
    };
    let steps = spawn_blocking(move || kafka::check(&cluster, &args.topics, &args.groups)).await?;
    let mut out = stdout();
    match args.output {
        Output::Json => writeln!(out, "{}", serde_json::to_string_pretty(&steps)?)?,
        Output::Table => table(&mut out, &steps)?,
    }
    match steps.iter().filter(|step| !step.ok).count() {
        0 => Ok(()),
        1 => bail!("1 step failed"),
        failed => bail!("{failed} steps failed"),
    }
}

fn table(out: &mut (impl Write + IsTerminal), steps: &[Step]) -> Result<()> {
    let colour = out.is_terminal();
    let width = steps.iter().map(|step| step.step.chars().count()).max().unwrap_or(0);
    for Step { step, ok, detail } in steps {
        let (word, code) = if *ok { ("ok    ", 32) } else { ("FAILED", 31) };
        let word = if colour { format!("\x1b[{code}m{word}\x1b[0m") } else { word.to_owned() };
        writeln!(out, "{word}  {step:<width$}  {detail}")?;
    }
    Ok(())
}
