//! The backend of Tidegate's example: a task list over HTTP and gRPC, and a TCP echo server that holds connections.
//!
//! It needs scaling because every request takes `--service-time`, `--concurrency` are served at once, `--queue` wait,
//! and the rest are refused (503, `RESOURCE_EXHAUSTED`). So one replica carries `concurrency / service-time` requests per
//! second and not one more. The tests run it as a pod, at the pod's own IP; the demo runs it as local processes.

mod gate;
mod grpc;
mod http;
mod server;
mod tasks;
mod tcp;
mod tls;

use std::{io::Write, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use anyhow::{Context, Result};
use clap::Parser;
use tokio::{
    net::TcpListener,
    signal::unix::{Signal, SignalKind, signal},
    task::JoinSet,
};

use crate::{
    gate::Gate,
    server::{Phase, Phases},
    tls::Certificate,
};

/// A task API that carries a known number of requests per second.
#[derive(Debug, Parser)]
#[command(version, group = clap::ArgGroup::new("listeners").required(true).multiple(true))]
struct Args {
    /// Serve the task list over HTTP/1.1 and h2c here; port 0 takes a free one
    #[arg(long, value_name = "ADDR:PORT", group = "listeners")]
    http: Option<SocketAddr>,
    /// Serve the task list over TLS here, by HTTP/1.1 and HTTP/2
    #[arg(long, value_name = "ADDR:PORT", group = "listeners", requires_all = ["tls_cert_file", "tls_key_file"])]
    https: Option<SocketAddr>,
    /// The certificate chain of --https (PEM); a new one is taken with the next connection
    #[arg(long, value_name = "FILE", requires = "https")]
    tls_cert_file: Option<PathBuf>,
    /// Its private key (PEM)
    #[arg(long, value_name = "FILE", requires = "https")]
    tls_key_file: Option<PathBuf>,
    /// Serve tasks.v1.Tasks over h2c here
    #[arg(long, value_name = "ADDR:PORT", group = "listeners")]
    grpc: Option<SocketAddr>,
    /// Echo whatever comes here, for as long as the client stays
    #[arg(long, value_name = "ADDR:PORT", group = "listeners")]
    tcp: Option<SocketAddr>,
    /// How long one request is worked on
    #[arg(long, value_name = "DURATION", default_value = "20ms", value_parser = humantime::parse_duration)]
    service_time: Duration,
    /// Requests that are worked on at once
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..))]
    concurrency: u16,
    /// Requests that wait for their turn; the next one is refused
    #[arg(long, value_name = "N", default_value_t = 1000)]
    queue: u16,
    /// The name of this replica in every answer [default: the first address it listens on]
    #[arg(long, env = "POD_NAME")]
    name: Option<String>,
    /// After SIGTERM, still accept for so long: the proxy needs a moment to learn that this replica leaves
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = humantime::parse_duration)]
    linger: Duration,
    /// Then let requests and connections end for so long before they are cut
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = humantime::parse_duration)]
    drain: Duration,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let args = Args::parse();
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    let phases = Phases::new();
    let mut servers = start(&args, &phases).await?;

    stop_signal(&mut terminate, &mut interrupt).await;
    phases.enter(Phase::Leaving);
    let drained = async {
        tokio::time::sleep(args.linger).await;
        phases.enter(Phase::Draining);
        let all_ended = async { while servers.join_next().await.is_some() {} };
        tokio::time::timeout(args.drain, all_ended).await.is_ok()
    };
    tokio::select! {
        ended = drained => say(if ended { "drained" } else { "cut what was still open" }),
        () = stop_signal(&mut terminate, &mut interrupt) => say("asked twice, leaving at once"),
    }
    Ok(())
}

async fn start(args: &Args, phases: &Phases) -> Result<JoinSet<()>> {
    let http = bind("http", args.http).await?;
    let https = bind("https", args.https).await?;
    let grpc = bind("grpc", args.grpc).await?;
    let tcp = bind("tcp", args.tcp).await?;
    let listeners = [("http", &http), ("https", &https), ("grpc", &grpc), ("tcp", &tcp)];
    let bound: Vec<_> =
        listeners.iter().filter_map(|(what, l)| Some((*what, l.as_ref()?.local_addr().ok()?))).collect();
    let first = bound.first().map_or_else(String::new, |(_, address)| address.to_string());
    let replica: Arc<str> = args.name.clone().unwrap_or(first).into();
    let gate = Arc::new(Gate::new(args.concurrency.into(), args.queue.into(), args.service_time));

    let mut servers = JoinSet::new();
    let over_http = http::TasksOverHttp::new(Arc::clone(&replica), Arc::clone(&gate), phases.watch());
    if let Some(listener) = http {
        servers.spawn(server::serve_http(listener, over_http.clone(), phases.watch()));
    }
    if let (Some(listener), Some(chain), Some(key)) = (https, args.tls_cert_file.clone(), args.tls_key_file.clone()) {
        let certificate = Certificate { chain, key };
        // Wrong files are an error at the start, and later a failed handshake.
        certificate.acceptor()?;
        servers.spawn(server::serve_https(listener, certificate, over_http, phases.watch()));
    }
    if let Some(listener) = grpc {
        let service = grpc::TasksOverGrpc::new(Arc::clone(&replica), gate, phases.watch());
        servers.spawn(server::serve_http(listener, service, phases.watch()));
    }
    if let Some(listener) = tcp {
        servers.spawn(tcp::serve(listener, phases.watch()));
    }
    for (what, address) in bound {
        say(&format!("listening {what} {address}"));
    }
    Ok(servers)
}

async fn bind(what: &str, address: Option<SocketAddr>) -> Result<Option<TcpListener>> {
    match address {
        None => Ok(None),
        Some(address) => {
            let listener = TcpListener::bind(address).await;
            Ok(Some(listener.with_context(|| format!("--{what} {address}: cannot listen there"))?))
        }
    }
}

async fn stop_signal(terminate: &mut Signal, interrupt: &mut Signal) {
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}

/// Writes a line to stdout. Errors are ignored: it may be a pipe that nobody reads any more.
fn say(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}
