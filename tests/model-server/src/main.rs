//! Stand-in for an LLM server where there is no GPU, and for a provider outside.
//!
//! It is a simulator: it answers with made-up tokens, at configured rates, within the limits of a batch and of a KV cache. Its
//! API is OpenAI's (chat completions, streamed or not), and its metrics have the names of vLLM's. Scaling decisions that are based
//! on it are real, answers are not.

mod api;
mod completions;
mod engine;
mod vllm;

use std::{io::Write, net::SocketAddr, num::NonZeroUsize, time::Duration};

use anyhow::{Context, Result};
use axum::Router;
use clap::Parser;
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};

use crate::{api::Served, engine::Limits};

/// A simulator of an LLM server: OpenAI's API and vLLM's metrics, made-up tokens, no model
///
/// Example: one replica that reads 8,000 and writes 1,500 tokens per second
///
///   model-server --model llama --prefill 8000 --decode 1500
#[derive(Debug, Parser)]
#[command(version, verbatim_doc_comment)]
struct Args {
    /// Address of the API and /metrics; port 0 takes a free one
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:8000")]
    listen: SocketAddr,
    /// A name of the model; given again, another name of it
    #[arg(long, value_name = "NAME", default_value = "simulated")]
    model: Vec<String>,
    /// Answer 401 to requests without the header `Authorization: Bearer KEY`
    #[arg(long, value_name = "KEY")]
    api_key: Option<String>,
    /// Answer 500 to every request, as a provider that is down
    #[arg(long)]
    down: bool,
    /// Uncached prompt tokens that are read per second
    #[arg(long, value_name = "TOKENS/S", default_value_t = 8000.0, value_parser = positive)]
    prefill: f64,
    /// Tokens that are written per second, by all sequences of the batch together
    #[arg(long, value_name = "TOKENS/S", default_value_t = 1500.0, value_parser = positive)]
    decode: f64,
    /// Most tokens that are written per second for one sequence
    #[arg(long, value_name = "TOKENS/S", default_value_t = 60.0, value_parser = positive)]
    decode_each: f64,
    /// Sequences in a batch; others wait
    #[arg(long, value_name = "N", default_value = "64")]
    sequences: NonZeroUsize,
    /// Tokens that the KV cache holds
    #[arg(long, value_name = "TOKENS", default_value_t = 400_000, value_parser = clap::value_parser!(u64).range(1..))]
    kv_cache: u64,
    /// Blocks of prompts that the prefix cache remembers
    #[arg(long, value_name = "N", default_value = "4096")]
    prefixes: NonZeroUsize,
    /// Tokens of one block
    #[arg(long, value_name = "TOKENS", default_value_t = 512, value_parser = clap::value_parser!(u64).range(1..))]
    block: u64,
    /// Most requests that wait; the next one is refused (503)
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    queue: usize,
    /// Time to load the model: until then nothing listens
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = humantime::parse_duration)]
    startup: Duration,
    /// Time after SIGTERM in which requests are still accepted: the proxy needs a moment to learn that this replica leaves
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = humantime::parse_duration)]
    linger: Duration,
    /// Time after that for streams to end before they are cut
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = humantime::parse_duration)]
    drain: Duration,
}

fn positive(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(number) if number > 0.0 && f64::is_finite(number) => Ok(number),
        _ => Err("a number above 0 is wanted".to_owned()),
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let args = Args::parse();
    let limits = Limits {
        prefill: args.prefill,
        decode: args.decode,
        decode_each: args.decode_each,
        sequences: args.sequences.get(),
        kv_cache: args.kv_cache,
        prefixes: args.prefixes,
        block: args.block,
    };
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    tokio::select! {
        () = tokio::time::sleep(args.startup) => {}
        _ = terminate.recv() => return Ok(()),
    }
    let app =
        api::router(Served { models: args.model, queue: args.queue, api_key: args.api_key, down: args.down }, limits);
    serve(args.listen, app, args.linger, args.drain).await
}

/// Serves until SIGTERM, and then ends in two steps: requests are still accepted, then open ones may end.
async fn serve(listen: SocketAddr, app: Router, linger: Duration, drain: Duration) -> Result<()> {
    let listener =
        TcpListener::bind(listen).await.with_context(|| format!("--listen {listen}: cannot listen there"))?;
    // A pipe that nobody reads any more is no reason to end.
    let _ = writeln!(std::io::stdout(), "listening {} (a simulator: no model is here)", listener.local_addr()?);
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    let (leave, mut leaving) = tokio::sync::watch::channel(false);
    let mut cut = leaving.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => tokio::time::sleep(linger).await,
            _ = interrupt.recv() => {}
        }
        leave.send_replace(true);
    });
    let served = axum::serve(listener, app).with_graceful_shutdown(async move {
        let _ = leaving.wait_for(|leave| *leave).await;
    });
    tokio::select! {
        ended = served => ended.context("cannot serve"),
        () = async {
            let _ = cut.wait_for(|leave| *leave).await;
            tokio::time::sleep(drain).await;
        } => Ok(()),
    }
}
