//! `tidegate kafka check`: whether a Kafka cluster can be used, and what is missing.

use std::io::{Write, stdout};

use anyhow::{Result, bail};
use tidegate_scaler::sources::kafka::{self, Step};
use tokio::task::spawn_blocking;

use crate::{
    args::{KafkaCheckArgs, KafkaCommand, kafka_clusters},
    paint::{Colour, Paint},
};

pub(crate) async fn run(command: KafkaCommand) -> Result<()> {
    match command {
        KafkaCommand::Check(args) => check(args).await,
    }
}

async fn check(args: KafkaCheckArgs) -> Result<()> {
    let mut clusters = kafka_clusters(&args.kafka_config)?.clusters;
    let Some(cluster) = clusters.remove(&args.name) else {
        let known: Vec<_> = clusters.into_keys().collect();
        let file = args.kafka_config.display();
        bail!("no Kafka cluster is called {}; {file} has {}", args.name, known.join(", "));
    };
    let steps = spawn_blocking(move || kafka::check(&cluster, &args.topics, &args.groups)).await?;
    let mut out = stdout();
    match args.output.format() {
        Some(format) => format.write(&steps, &mut out)?,
        None => table(&mut out, &steps)?,
    }
    match steps.iter().filter(|step| !step.ok).count() {
        0 => Ok(()),
        1 => bail!("1 step failed"),
        failed => bail!("{failed} steps failed"),
    }
}

fn table(out: &mut impl Write, steps: &[Step]) -> Result<()> {
    let paint = Paint::of_stdout();
    let width = steps.iter().map(|step| step.step.chars().count()).max().unwrap_or(0);
    for Step { step, ok, detail } in steps {
        let (word, colour) = if *ok { ("ok    ", Colour::Green) } else { ("FAILED", Colour::Red) };
        let word = paint.paint(colour, word);
        writeln!(out, "{word}  {step:<width$}  {detail}")?;
    }
    Ok(())
}
