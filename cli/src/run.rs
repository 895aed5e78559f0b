//! `tidegate run`, `operator` and `scaler`: the long-running service.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, Result, anyhow, bail};
use futures::{FutureExt, future};
use kube::{Client, Config};
use prometheus_client::registry::Registry;
use tidegate_cluster::{
    ManifestSettings,
    scaling::{ScalerEndpoint, Settings},
};
use tidegate_core::{intent::Managed, measured::Measured, plan::Plan, workload::WorkloadId};
use tidegate_operator::{
    calendars,
    context::Context as OperatorContext,
    endpoints,
    lease::{self, LeaseSettings},
    metrics::OperatorMetrics,
    problems::ProblemBook,
    proxies::{self, Measure},
    sleep as sleep_by_hours,
    watch::{self as cluster_watch, WatchSettings, WatchState, Watches},
    workloads::{self, Bursts, Ledger, Reconciler, ReportPeaks, takes_tolerance},
    writer::Writer,
};
use tidegate_scaler::{
    demand::{Demands, Gates, watch_consumers},
    history::{History, record},
    metrics::{ScalerMetrics, register_workloads},
    overview::Overviews,
    savings::{self, Savings},
    service::{Scaler, ServiceSettings, TlsSettings, serve},
    sources,
    store::SignalStore,
};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    sync::watch,
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::{
    activator::Hold,
    admin::{self, Admin, Check, KnownProblems},
    args::{ScalerArgs, ServeArgs, ServiceArgs, Source},
    crypto::install_crypto,
    elders,
    from_files::{self, Served},
};

/// The role of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// Operator and scaler
    Both,
    /// Operator alone
    Operator,
}

/// How long calls may take to end once the process was asked to stop.
const DRAIN: Duration = Duration::from_secs(35);

pub(crate) async fn run(args: ServiceArgs, role: Role) -> Result<()> {
    install_crypto();
    let client = connect().await?;
    let (lease, manageable) = (lease_settings(&args), args.manageable());
    let mut service = Service::new(args.serve);
    // Held requests are demand, so only a process that answers KEDA holds any.
    let of_pods = args.pod_namespace.as_ref().unwrap_or(&lease.namespace);
    let hold = (role == Role::Both).then(|| Hold::of(&args.activator, lease.release(), of_pods, &mut service.registry));
    let hold = hold.flatten();
    let settings = WatchSettings {
        namespaces: args.namespaces,
        endpoints: hold.as_ref().map(Hold::book),
        proxies: service.args.source.envoy_gateway_namespaces.clone(),
        manageable,
        controller_names: args.controllers.names,
        config_maps: args.configuration.config_maps()?,
        scaled: args.scaled.kinds(),
    };
    let (watches, _watching) = cluster_watch::start(&client, &settings);
    watches.register(&mut service.registry);
    let demands = service.measure(watches.plan(), hold.as_ref().map(Hold::gates), args.burst)?;
    if role == Role::Both {
        service.answer(watches.plan(), &demands).await?;
    }
    let report_peaks = || -> ReportPeaks {
        match &hold {
            Some(hold) => Arc::new(hold.report_peaks(Arc::clone(&demands))),
            None => Arc::new(|| future::ready(()).boxed()),
        }
    };
    let asked = OperatorSettings {
        scaler: args.scaler.endpoint(),
        lease,
        above_maximum_after: args.above_maximum_after,
        // An operator alone answers no HPA, which would take the replicas back.
        report_peaks: (role == Role::Both).then(report_peaks),
    };
    let context = service.operator(client, watches.clone(), asked, &demands);
    if let Some(hold) = &hold {
        service.hold(hold, &demands, context);
    }
    service.admin(watches.plan(), demands, Some(watches), hold).await
}

pub(crate) async fn scaler(args: ScalerArgs) -> Result<()> {
    install_crypto();
    let mut service = Service::new(args.serve);
    if args.files.is_empty() {
        let settings = WatchSettings {
            namespaces: args.namespaces,
            proxies: service.args.source.envoy_gateway_namespaces.clone(),
            manageable: Managed::default(),
            controller_names: args.controllers.names,
            config_maps: args.configuration.config_maps()?,
            scaled: args.scaled.kinds(),
            endpoints: None,
        };
        let (watches, _watching) = cluster_watch::start(&connect().await?, &settings);
        watches.register(&mut service.registry);
        let demands = service.measure(watches.plan(), None, false)?;
        service.answer(watches.plan(), &demands).await?;
        service.remember(&demands, watches.plan(), || true);
        return service.admin(watches.plan(), demands, Some(watches), None).await;
    }
    let settings = ManifestSettings {
        namespace: one_namespace(args.namespaces)?,
        controller_names: args.controllers.names,
        scaled: args.scaled.kinds(),
        // A process that writes no EndpointSlices holds nothing.
        activates: false,
    };
    let Served { plan, problems } = from_files::served(&args.files, &settings)?;
    let (_plan, plan) = watch::channel(Some(Arc::new(plan)));
    let demands = service.measure(plan.clone(), None, false)?;
    service.answer(plan.clone(), &demands).await?;
    service.remember(&demands, plan.clone(), || true);
    service.admin(plan, demands, None, None).await?;
    match problems.len() {
        0 => Ok(()),
        wrong => bail!("{} in the log at its start", from_files::has_to_be_fixed(wrong)),
    }
}

/// The namespace of objects in files that name none.
fn one_namespace(mut namespaces: Vec<String>) -> Result<Option<String>> {
    if namespaces.len() > 1 {
        bail!("--namespace {}: with --file, wants one namespace, that of objects that name none", namespaces.join(","));
    }
    Ok(namespaces.pop())
}

async fn connect() -> Result<Client> {
    let config = Config::infer().await.context("no cluster: run in a pod, or set KUBECONFIG")?;
    Ok(Client::try_from(config)?)
}

/// Settings of the parts that write to the cluster.
struct OperatorSettings {
    scaler: ScalerEndpoint,
    lease: LeaseSettings,
    above_maximum_after: Duration,
    /// Reports the demand of bursts to the other pods; `None` where no replicas are to be added at once
    report_peaks: Option<ReportPeaks>,
}

/// The running parts of the process, and the token that stops them.
struct Service {
    args: ServeArgs,
    registry: Registry,
    savings: Savings,
    history: Arc<History>,
    /// What is wrong, in a process that writes to the cluster
    problems: Option<KnownProblems>,
    parts: JoinSet<Result<()>>,
    stop: CancellationToken,
}

impl Service {
    fn new(args: ServeArgs) -> Self {
        let mut registry = Registry::default();
        let savings = Savings::register(&mut registry);
        let (history, parts, stop) = (Arc::default(), JoinSet::new(), CancellationToken::new());
        Self { args, registry, savings, history, problems: None, parts, stop }
    }

    /// Adds a part, which runs until the service stops. If it ends earlier, it ends the service.
    fn part(&mut self, part: impl Future<Output = ()> + Send + 'static) {
        self.parts.spawn(async move {
            part.await;
            Ok(())
        });
    }

    /// Starts the store of signals and their sources. What is held at `gates` is demand, too. `bursts` says whether replicas are
    /// added at once where annotations do not say.
    fn measure(
        &mut self,
        plan: watch::Receiver<Option<Arc<Plan>>>,
        gates: Option<Gates>,
        bursts: bool,
    ) -> Result<Arc<Demands>> {
        let signals = Arc::new(SignalStore::new(self.args.stale_after));
        let demands = Demands::new(Arc::clone(&signals), self.args.stale_after).with_bursts(bursts);
        let demands = Arc::new(match gates {
            Some(gates) => demands.with_gates(gates),
            None => demands,
        });
        signals.limit_queries(self.args.source.prometheus_queries_per_namespace as usize);
        signals.register(&mut self.registry);
        let source = self.args.source.settings()?;
        let stop = self.stop.clone();
        register_workloads(&mut self.registry, Arc::clone(&demands), plan.clone());
        self.part(watch_consumers(Arc::clone(&demands), plan.clone(), stop.clone()));
        self.parts.spawn(async move { Ok(sources::run(source, signals, plan, stop).await?) });
        Ok(demands)
    }

    /// Starts the gRPC server.
    async fn answer(&mut self, plan: watch::Receiver<Option<Arc<Plan>>>, demands: &Arc<Demands>) -> Result<()> {
        let address = self.args.grpc_address;
        let listener = TcpListener::bind(address).await.with_context(|| format!("--grpc-address {address}"))?;
        let metrics = ScalerMetrics::register(&mut self.registry);
        let scaler = Scaler::new(Arc::clone(demands), plan, metrics);
        let settings = ServiceSettings { tls: tls_settings(&self.args) };
        let stop = self.stop.clone();
        self.parts.spawn(async move { Ok(serve(listener, settings, scaler, stop).await?) });
        tracing::info!(%address, "answers KEDA");
        Ok(())
    }

    /// Starts competing for the Lease, and starts the parts that write while it is held.
    fn operator(
        &mut self,
        client: Client,
        watches: Watches,
        settings: OperatorSettings,
        demands: &Arc<Demands>,
    ) -> OperatorContext {
        let OperatorSettings { scaler, lease, above_maximum_after, report_peaks } = settings;
        let metrics = OperatorMetrics::register(&mut self.registry);
        let (term, leadership) = lease::term();
        let (mut changes, shown) = (leadership.clone(), metrics.clone());
        let problems = ProblemBook::default();
        problems.register(&mut self.registry);
        self.problems = Some(KnownProblems { book: problems.clone(), leadership: leadership.clone() });
        let book = problems.clone();
        self.part(async move {
            while changes.changed().await {
                shown.leads(changes.may_write());
                if !changes.may_write() {
                    // Another replica knows better.
                    book.clear();
                }
            }
        });
        let context = OperatorContext {
            writer: Writer::new(client.clone(), leadership.clone(), watches.resources()),
            watches,
            stop: self.stop.clone(),
            instance: lease.holder.clone(),
            problems,
        };
        self.part(calendars::run(context.clone()));
        self.part(sleep_by_hours::run(context.clone(), lease.release()));
        self.part(proxies::run(self.listeners(demands), context.clone()));
        let scraped = self.args.source.source != Source::Otlp;
        self.part(proxies::report_left_out(scraped, context.clone()));
        self.report_signals(above_maximum_after, &context, demands);
        if let Some(report) = report_peaks {
            let of_bursts = Arc::clone(demands);
            let bursts = Bursts { find: Arc::new(move |plan: &Plan| of_bursts.bursts(plan)), report };
            self.part(workloads::add_replicas(bursts, context.clone(), metrics.clone()));
        }
        let leads = leadership.clone();
        self.count_savings(demands, context.watches.plan(), move || leads.may_write());
        self.remember(demands, context.watches.plan(), move || leadership.may_write());
        self.part(scaled_objects(client.clone(), context.clone(), scaler, lease.clone(), metrics));
        self.part(lease::compete(client, lease, term, self.stop.clone()));
        context
    }

    /// Starts to hold requests, and to lead them here while this replica leads.
    fn hold(&mut self, hold: &Hold, demands: &Arc<Demands>, context: OperatorContext) {
        let plan = context.watches.plan();
        self.parts.spawn(hold.clone().run(plan, Arc::clone(demands), self.stop.clone()));
        let asked = Arc::clone(demands);
        let activity = Arc::new(move |id: &WorkloadId, plan: &Plan| asked.asks_for_replicas(id, plan));
        self.part(endpoints::run(hold.settings(), hold.book(), activity, context.clone()));
        self.part(hold.clone().look_at_starts(context.clone()));
        self.part(hold.clone().report(context));
    }

    /// Starts the parts that write events about the signals of workloads; other events are about their annotations.
    fn report_signals(&mut self, above_maximum_after: Duration, context: &OperatorContext, demands: &Arc<Demands>) {
        let (of_missing, of_needs, of_measured) = (Arc::clone(demands), Arc::clone(demands), Arc::clone(demands));
        let missing = Arc::new(move |id: &WorkloadId, plan: &Plan| of_missing.missing(id, plan));
        self.part(workloads::report_missing(missing, context.clone()));
        let needs = Arc::new(move |id: &WorkloadId, plan: &Plan| of_needs.desired(id, plan));
        self.part(workloads::report_above(above_maximum_after, needs, context.clone()));
        let unmeasured = Arc::new(move |id: &WorkloadId, plan: &Plan| of_measured.not_measured(id, plan));
        self.part(workloads::report_not_measured(unmeasured, context.clone()));
    }

    /// The traffic of the listeners of each set of proxies, for the operator.
    fn listeners(&self, demands: &Arc<Demands>) -> Measure {
        if self.args.source.source == Source::Prometheus {
            let why = "Gateways are measured on the proxies themselves, and --source is prometheus";
            return Arc::new(move |_: &str, _| Measured::Unknown(why.to_owned()));
        }
        let signals = Arc::clone(demands.signals());
        Arc::new(move |fleet: &str, signal| {
            let carried = signals.traffic(&[(fleet, 1.0)], signal);
            carried.map(|reading| reading.value).map_why(|why| why.to_string())
        })
    }

    /// Starts to count savings, for as long as this replica leads.
    fn count_savings(
        &mut self,
        demands: &Arc<Demands>,
        plan: watch::Receiver<Option<Arc<Plan>>>,
        leads: impl Fn() -> bool + Send + 'static,
    ) {
        let (savings, demands, stop) = (self.savings.clone(), Arc::clone(demands), self.stop.clone());
        self.part(savings::run(savings, demands, plan, leads, stop));
    }

    /// Starts to remember why wanted numbers change, with a line in the log for each while it `logs`.
    fn remember(
        &mut self,
        demands: &Arc<Demands>,
        plan: watch::Receiver<Option<Arc<Plan>>>,
        logs: impl Fn() -> bool + Send + 'static,
    ) {
        if let Some(host) = self.args.history_peers.clone() {
            // It ends before the service does, which is no error.
            tokio::spawn(elders::recall(Arc::clone(&self.history), host, self.stop.clone()));
        }
        self.part(record(Arc::clone(&self.history), Arc::clone(demands), plan, logs, self.stop.clone()));
    }

    /// Starts the admin server, and waits until the process should stop.
    async fn admin(
        mut self,
        plan: watch::Receiver<Option<Arc<Plan>>>,
        demands: Arc<Demands>,
        watches: Option<Watches>,
        hold: Option<Hold>,
    ) -> Result<()> {
        let signals = Arc::clone(demands.signals());
        let checks = Box::new(move || {
            checks(watches.as_ref(), &signals).into_iter().chain(hold.as_ref().map(Hold::check)).collect()
        });
        let admin = Admin {
            registry: self.registry,
            savings: self.savings,
            checks,
            plan,
            demands,
            history: self.history,
            overviews: Overviews::default(),
            streams: admin::Streams::default(),
            problems: self.problems,
        };
        let (address, stop) = (self.args.admin_address, self.stop.clone());
        self.parts.spawn(admin::serve(address, admin, stop));

        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let ended = tokio::select! {
            _ = terminate.recv() => None,
            _ = interrupt.recv() => None,
            ended = self.parts.join_next() => ended,
        };
        tracing::info!("stops: calls may end, the Lease is handed over");
        self.stop.cancel();
        let drained = timeout(DRAIN, async { while self.parts.join_next().await.is_some() {} }).await;
        if drained.is_err() {
            tracing::warn!("calls were still open after {} s", DRAIN.as_secs());
        }
        match ended {
            None => Ok(()),
            Some(Ok(Ok(()))) => bail!("a part of the service ended by itself"),
            Some(Ok(Err(error))) => Err(error),
            Some(Err(panicked)) => Err(anyhow!(panicked)),
        }
    }
}

/// Reconciles ScaledObjects, once it is known whether the API server's HPAs take a `tolerance`.
async fn scaled_objects(
    client: Client,
    context: OperatorContext,
    scaler: ScalerEndpoint,
    lease: LeaseSettings,
    metrics: OperatorMetrics,
) {
    let Some(tolerance) = context.stop.run_until_cancelled(supports_tolerance(&client)).await else { return };
    let settings = Settings { scaler, release: lease.release(), tolerance };
    workloads::run(Reconciler::new(&context, settings, Ledger::of(&lease), metrics), context).await;
}

/// Asks the API server until it answers.
async fn supports_tolerance(client: &Client) -> bool {
    loop {
        match takes_tolerance(client).await {
            Ok(supported) => return supported,
            Err(error) => tracing::warn!(%error, "the API server does not say its version"),
        }
        sleep(Duration::from_secs(2)).await;
    }
}

fn checks(watches: Option<&Watches>, signals: &SignalStore) -> Vec<Check> {
    let mut checks = Vec::new();
    if let Some(watches) = watches {
        let needed = watches.missing();
        for (kind, namespace, state) in watches.states() {
            let required = needed.iter().any(|(k, n, _)| (*k, n) == (kind, &namespace));
            let within = namespace.map(|namespace| format!(" in {namespace}")).unwrap_or_default();
            let missing = (state != WatchState::Synced).then(|| state.to_string());
            checks.push(Check { name: format!("watch {kind}{within}"), missing, required });
        }
    }
    for source in signals.sources() {
        checks.push(Check { name: format!("source {}", source.name), missing: source.error, required: false });
    }
    checks
}

fn lease_settings(args: &ServiceArgs) -> LeaseSettings {
    let namespace = args.lease_namespace.as_ref().or(args.pod_namespace.as_ref());
    LeaseSettings {
        namespace: namespace.map_or_else(|| "tidegate-system".to_owned(), Clone::clone),
        name: args.lease_name.clone(),
        // Outside a cluster, the process id makes the holder unique.
        holder: args.pod_name.clone().unwrap_or_else(|| format!("tidegate-{}", std::process::id())),
    }
}

fn tls_settings(args: &ServeArgs) -> Option<TlsSettings> {
    let (cert_file, key_file) = (args.tls_cert_file.clone()?, args.tls_key_file.clone()?);
    Some(TlsSettings { cert_file, key_file, client_ca_file: args.tls_client_ca_file.clone() })
}
