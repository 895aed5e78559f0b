//! `tidegate demo`: the whole loop on one machine.
//!
//! Real: Envoy, the load, the backends, the Plan built from the example's manifests, the source, the gRPC scaler. In place of
//! a cluster: KEDA's and the HPA's algorithms from the crate `tidegate-sim`, which are checked against the real ones.

mod backends;
mod envoy;
mod view;

use std::{
    io::{Write, stdout},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use prometheus_client::registry::Registry;
use serde_json::Value;
use tidegate_cluster::{
    Objects, read_manifests, read_values,
    scaling::{self, ScalerEndpoint, Settings},
};
use tidegate_core::{
    plan::{Plan, PlannedWorkload, Proxy},
    signal::Signal,
    workload::WorkloadId,
};
use tidegate_proto::external_scaler_client::ExternalScalerClient;
use tidegate_scaler::{
    demand::Demands,
    metrics::ScalerMetrics,
    service::{Scaler, ServiceSettings, serve},
    sources::{self, SourceSettings, TrafficSource},
    store::SignalStore,
};
use tidegate_sim::{
    hpa::{ControllerFlags, Scale},
    keda::{KedaLoop, Report, ScaleTarget, ScaledObject, Source, TargetError},
    load::{Load, LoadSpec, Profile, SentRate, Traffic},
    report::{Latency, Point, Recording, Requests},
};
use tokio::{
    net::TcpListener,
    signal::ctrl_c,
    sync::{broadcast, watch},
    time::{Instant, MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;

use self::{
    backends::{Backends, Container},
    envoy::Envoy,
    view::{Moment, View},
};
use crate::{args::DemoArgs, crypto::install_crypto};

pub(crate) async fn demo(args: DemoArgs) -> Result<()> {
    install_crypto();
    let example = Example::read(&args)?;
    let folder = tempfile::tempdir().context("no temporary folder for Envoy's configuration")?;
    eprintln!("Envoy carries {} to {}", example.cluster, example.id);
    let envoy = Arc::new(Envoy::start(&args.envoy, folder.path(), &example.cluster).await?);
    let backends = Backends::new(example.container.clone(), Arc::clone(&envoy));
    backends.set(1).await?;

    let stop = CancellationToken::new();
    let address = start_scaler(&example, &envoy, &stop).await?;
    let scaler = ExternalScalerClient::connect(format!("http://{address}")).await?;
    let object = example.scaled_object(&address.to_string())?;
    // The default flags of kube-controller-manager: the demo shows how fast a stock cluster is.
    let (_keda, reports) = KedaLoop::start(&object, ControllerFlags::default(), scaler, backends.clone());

    let profile = profile(args.duration);
    let load = Load::start(
        LoadSpec::new(Traffic::http("tasks.example.com", "/tasks")?, profile.clone()),
        vec![envoy.listener],
    );
    let recording = watch_it(&args, &example, &profile, &load, &backends, reports).await;
    stop.cancel();
    backends.stop().await;
    envoy.stop();
    let recording = recording?;
    recording.write(&args.report).with_context(|| format!("cannot write {}", args.report.display()))?;
    writeln!(stdout(), "\n{}\n\nThe chart: {}", recording.summary(), args.report.display())?;
    if args.open {
        open::that_detached(&args.report).with_context(|| format!("cannot open {}", args.report.display()))?;
    }
    Ok(())
}

/// A morning in minutes: calm, a rise to five times as much, and calm again.
fn profile(duration: Duration) -> Profile {
    let part = |percent: u32| duration * percent / 100;
    Profile::starting_at(120.0)
        .hold(part(8))
        .ramp_to(600.0, part(42))
        .hold(part(12))
        .ramp_to(120.0, part(6))
        .hold(part(32))
}

/// The example as its manifests define it.
struct Example {
    objects: Objects,
    plan: Plan,
    id: WorkloadId,
    cluster: String,
    per_replica: f64,
    container: Container,
}

impl Example {
    fn read(args: &DemoArgs) -> Result<Self> {
        let manifest = &args.manifest;
        let objects = read_manifests(std::slice::from_ref(manifest))?;
        let plan = objects.plan();
        let scaled = |workload: &PlannedWorkload| {
            workload.intent.as_ref().ok().and_then(|intent| intent.target(Signal::RequestsPerSecond))
        };
        let found = plan.workloads.iter().find_map(|(id, workload)| Some((id, workload, scaled(workload)?)));
        let (id, workload, per_replica) = found.with_context(|| {
            format!("{}: no Deployment is annotated with tidegate.dev/requests-per-second", manifest.display())
        })?;
        let Some(share) = workload.traffic.first() else {
            bail!("{}: no route reaches {id}", manifest.display());
        };
        let container = container(manifest, &id.name, args.task_api.clone())?;
        Ok(Self {
            id: id.clone(),
            cluster: share.cluster.to_string(),
            per_replica: per_replica.get(),
            container,
            plan: plan.clone(),
            objects,
        })
    }

    /// The ScaledObject that the operator would apply, parsed as KEDA parses it.
    fn scaled_object(&self, scaler_address: &str) -> Result<ScaledObject> {
        let scaler = ScalerEndpoint { address: scaler_address.to_owned(), ..ScalerEndpoint::default() };
        let settings = Settings { scaler, release: "demo".to_owned(), tolerance: true };
        let rendered = scaling::render(&self.objects, &self.plan, &settings, chrono::Utc::now());
        let ours =
            rendered.scaled_objects.into_iter().find(|object| object["spec"]["scaleTargetRef"]["name"] == self.id.name);
        Ok(serde_json::from_value(ours.context("the example gets no ScaledObject")?)?)
    }
}

fn container(manifest: &Path, deployment: &str, task_api: Option<PathBuf>) -> Result<Container> {
    let objects = read_values(&[manifest.to_owned()])?;
    let is_it = |object: &&Value| object["kind"] == "Deployment" && object["metadata"]["name"] == deployment;
    let object = objects.iter().find(is_it);
    let object = object.with_context(|| format!("{}: no Deployment {deployment}", manifest.display()))?;
    let container = &object["spec"]["template"]["spec"]["containers"][0];
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let args = container["args"].as_array().map(|args| args.iter().filter_map(text).collect()).unwrap_or_default();
    let port = container["ports"][0]["containerPort"].as_u64().and_then(|port| u16::try_from(port).ok());
    let port = port.with_context(|| format!("{}: the container of {deployment} names no port", manifest.display()))?;
    let program = match task_api {
        Some(program) => program,
        None => std::env::current_exe()?.with_file_name("task-api"),
    };
    if !program.exists() {
        bail!("{} is not there: `make demo` builds it, and --task-api names another", program.display());
    }
    Ok(Container { program, args, port })
}

/// Starts the real scaler on a free port of this machine.
async fn start_scaler(example: &Example, envoy: &Envoy, stop: &CancellationToken) -> Result<std::net::SocketAddr> {
    // Nothing changes this Plan, so its sender may be dropped.
    let (_, plan) = watch::channel(Some(Arc::new(example.plan.clone())));
    let stale_after = Duration::from_secs(300);
    let signals = Arc::new(SignalStore::new(stale_after));
    let proxy = Proxy { name: "the demo's Envoy".to_owned(), stats: envoy.admin, ready: true, fleet: None };
    let source = SourceSettings::of(TrafficSource::Envoy(vec![proxy]));
    tokio::spawn(sources::run(source, Arc::clone(&signals), plan.clone(), stop.clone()));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let metrics = ScalerMetrics::register(&mut Registry::default());
    let scaler = Scaler::new(Arc::new(Demands::new(signals, stale_after)), plan, metrics);
    tokio::spawn(serve(listener, ServiceSettings::default(), scaler, stop.clone()));
    Ok(address)
}

/// Shows and records a moment each second until the load ends or somebody presses Ctrl-C.
async fn watch_it(
    args: &DemoArgs,
    example: &Example,
    profile: &Profile,
    load: &Load,
    backends: &Backends,
    mut reports: broadcast::Receiver<Report>,
) -> Result<Recording> {
    let title = format!("{} follows its requests", example.id.name);
    let subtitle = format!("Envoy cluster {}; KEDA and HPA replayed at their stock periods", example.cluster);
    let mut recording = Recording::new(title, subtitle, example.per_replica);
    let mut view = View::open(args.duration)?;
    let mut seconds = interval(Duration::from_secs(1));
    seconds.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let start = Instant::now();
    let mut moment =
        Moment { target: example.per_replica, desired: 1, why: "no decision yet".to_owned(), ..Moment::default() };
    let mut sent = SentRate::default();
    loop {
        tokio::select! {
            _ = seconds.tick() => {}
            _ = ctrl_c() => break,
            report = reports.recv() => {
                if let Ok(report) = report {
                    recording.note(&report);
                    moment.take_in(&report);
                }
                continue;
            }
        }
        if load.is_finished() || start.elapsed() >= profile.duration() {
            break;
        }
        let snapshot = load.snapshot();
        moment.time = start.elapsed();
        moment.planned = profile.at(moment.time);
        moment.sent = sent.look(moment.time, &snapshot);
        moment.replicas = backends.count().await;
        let latest = snapshot.counts.since(&moment.answers);
        moment.answers = snapshot.counts;
        recording.points.push(Point {
            at: moment.time,
            load: moment.sent,
            metric: moment.metric,
            desired: moment.desired,
            ready: moment.replicas,
            not_ok: (latest.total() - latest.ok) as f64,
        });
        view.show(moment.clone())?;
    }
    view.close()?;
    let snapshot = load.snapshot();
    recording.requests = Some(Requests { total: snapshot.counts.total(), ok: snapshot.counts.ok });
    let quantile = |share| snapshot.latencies.quantile(share).unwrap_or_default();
    recording.latency = Some(Latency { p50: quantile(0.5), p99: quantile(0.99) });
    Ok(recording)
}

impl Moment {
    fn take_in(&mut self, report: &Report) {
        if report.source == Source::Hpa {
            self.desired = report.desired;
            self.why.clone_from(&report.why);
            self.looked = Some(self.time);
            self.metric =
                report.metrics.first().and_then(|metric| metric.value.as_ref().ok()).map(|value| value.as_f64());
        }
    }
}

impl ScaleTarget for Backends {
    async fn replicas(&self) -> Result<Scale, TargetError> {
        Ok(Scale::from(self.count().await))
    }

    async fn scale(&self, replicas: u32) -> Result<(), TargetError> {
        Ok(self.set(replicas).await?)
    }
}
