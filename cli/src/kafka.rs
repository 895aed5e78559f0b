//! `tidegate kafka check`: whether a Kafka cluster can be used, and what is missing.

use std::{
    fs,
    io::{IsTerminal, Write, stdout},
    path::Path,
};

use anyhow::{Context, Result, bail};
use tidegate_core::yaml;
use tidegate_scaler::sources::kafka::{self, KafkaSettings, Step};
use tokio::task::spawn_blocking;

use crate::args::{KafkaCheckArgs, KafkaCommand, Output};

/// Reads the Kafka clusters from a file.
pub(crate) fn settings(file: &Path) -> Result<KafkaSettings> {
    let shown = file.display();
    let text = fs::read_to_string(file).with_context(|| format!("--kafka-config {shown}"))?;
    yaml::read(&text).with_context(|| format!("--kafka-config {shown}"))
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
