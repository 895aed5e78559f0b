//! KEDA's and the HPA's loops in real time: they call a real scaler and scale any [`ScaleTarget`].

use std::{
    future::Future,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tidegate_proto::external_scaler_client::ExternalScalerClient;
use tokio::{
    sync::{Notify, broadcast, mpsc},
    task::{JoinHandle, JoinSet},
    time::{Instant, MissedTickBehavior, interval, sleep},
};
use tonic::transport::Channel;

use super::{Change, Keda, Report, ScaledObject, scaler::Scaler};
use crate::hpa::{ControllerFlags, Scale};

/// Why replicas could not be read or set.
pub type TargetError = Box<dyn std::error::Error + Send + Sync>;

/// Something with replicas: a Deployment's scale subresource, or local processes.
pub trait ScaleTarget: Send + Sync + 'static {
    /// Returns the requested replicas and those that exist.
    fn replicas(&self) -> impl Future<Output = Result<Scale, TargetError>> + Send;

    /// Requests this many replicas.
    fn scale(&self, replicas: u32) -> impl Future<Output = Result<(), TargetError>> + Send;
}

/// First and longest delay of KEDA's reconciler after a failure; it doubles in between (client-go's default).
const RECONCILE_RETRY: (Duration, Duration) = (Duration::from_millis(5), Duration::from_secs(1000));

/// Reports that a slow reader may lag behind before it loses the oldest.
const REPORTS: usize = 4096;

/// KEDA for one ScaledObject, and its HPA. Runs until it is dropped.
///
/// It first asks the scaler for its metric specs, and retries until it has them. Then these run side by side: the scale loop
/// every polling interval, the HPA every sync period, and for push triggers the two streams.
#[derive(Debug)]
pub struct KedaLoop {
    reports: broadcast::Sender<Report>,
    task: JoinHandle<()>,
}

impl KedaLoop {
    /// Starts on the current tokio runtime. The receiver gets every decision from the first one on.
    pub fn start(
        object: &ScaledObject,
        flags: ControllerFlags,
        scaler: ExternalScalerClient<Channel>,
        target: impl ScaleTarget,
    ) -> (Self, broadcast::Receiver<Report>) {
        let (reports, receiver) = broadcast::channel(REPORTS);
        let shared = Arc::new(Shared {
            keda: Mutex::new(Keda::new(object.spec.clone(), flags, Duration::ZERO)),
            scaler: Scaler::new(scaler, object),
            target,
            scaling: tokio::sync::Mutex::default(),
            hpa_changed: Notify::new(),
            reports: reports.clone(),
            start: Instant::now(),
        });
        let task = tokio::spawn(run(shared, object.clone(), flags.sync_period));
        (Self { reports, task }, receiver)
    }

    /// Returns another receiver, which gets every decision from now on.
    pub fn subscribe(&self) -> broadcast::Receiver<Report> {
        self.reports.subscribe()
    }
}

impl Drop for KedaLoop {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Shared<T> {
    keda: Mutex<Keda>,
    scaler: Scaler,
    target: T,
    /// KEDA's lock: a poll and a push never scale at the same time. The HPA does not take it.
    scaling: tokio::sync::Mutex<()>,
    hpa_changed: Notify,
    reports: broadcast::Sender<Report>,
    start: Instant,
}

/// Starts the scale loop and the HPA only once the HPA's metrics are known.
async fn run<T: ScaleTarget>(shared: Arc<Shared<T>>, object: ScaledObject, sync_period: Duration) {
    shared.reconcile().await;
    let mut tasks = JoinSet::new();
    let (pushed, mut from_streams) = mpsc::channel(1);
    let (updated, mut new_specs) = mpsc::channel(1);
    for (trigger, _) in object.spec.triggers.iter().enumerate().filter(|(_, trigger)| trigger.push) {
        let (streams, pushed, updated) = (Arc::clone(&shared), pushed.clone(), updated.clone());
        tasks.spawn(async move {
            let scaler = &streams.scaler;
            tokio::join!(scaler.stream_activity(trigger, pushed), scaler.stream_specs(trigger, updated));
        });
    }
    let activator = Arc::clone(&shared);
    tasks.spawn(async move {
        while let Some(trigger) = from_streams.recv().await {
            activator.push(trigger).await;
        }
    });
    let reconciler = Arc::clone(&shared);
    tasks.spawn(async move {
        while new_specs.recv().await.is_some() {
            if reconciler.reconcile().await {
                reconciler.hpa_changed.notify_one();
            }
        }
    });
    let scale_loop = Arc::clone(&shared);
    tasks.spawn(async move {
        let mut polls = interval(object.spec.polling_interval);
        polls.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            polls.tick().await;
            scale_loop.poll().await;
        }
    });
    tasks.spawn(async move {
        loop {
            shared.sync().await;
            tokio::select! {
                () = sleep(sync_period) => {}
                // A change of its spec is synced at once (feature HPAGeneration of Kubernetes 1.37).
                () = shared.hpa_changed.notified() => {}
            }
        }
    });
    while tasks.join_next().await.is_some() {}
}

impl<T: ScaleTarget> Shared<T> {
    /// Creates or changes the HPA, and retries until that works. Returns whether it changed.
    async fn reconcile(&self) -> bool {
        let (mut retry, longest) = RECONCILE_RETRY;
        loop {
            let answers = self.scaler.answers(|_| false).await;
            let reconciled = self.keda().reconcile(&answers);
            match reconciled {
                Ok(changed) => return changed,
                Err(error) => tracing::warn!(%error, ?retry, "no HPA yet"),
            }
            sleep(retry).await;
            retry = (retry * 2).min(longest);
        }
    }

    async fn sync(&self) {
        let scale = match self.target.replicas().await {
            Ok(scale) => scale,
            Err(error) => return tracing::warn!(%error, "the HPA cannot read the replicas"),
        };
        let names: Vec<_> = self.keda().metrics_to_ask(scale.spec).map(str::to_owned).collect();
        let mut served = Vec::with_capacity(names.len());
        for name in &names {
            let answers = self.scaler.answers(|metric| metric == name).await;
            served.push(self.keda().serve(name, &answers, scale.spec));
        }
        let now = self.start.elapsed();
        let (decision, metrics) = self.keda().sync(now, scale, served);
        let mut report = Report::of_sync(now, &decision, &metrics);
        if decision.desired != decision.current {
            match self.target.scale(decision.desired).await {
                Ok(()) => self.keda().rescaled(self.start.elapsed(), &decision),
                Err(error) => report = report.failed_to_scale(&error.to_string()),
            }
        }
        self.report(report);
    }

    async fn poll(&self) {
        let _one_at_a_time = self.scaling.lock().await;
        let answers = self.scaler.answers(|metric| self.keda().polls(metric)).await;
        let Some(replicas) = self.replicas().await else { return };
        let now = self.start.elapsed();
        let poll = self.keda().poll(now, replicas, &answers);
        self.change(poll.change, Report::of_poll(now, replicas, poll, &answers)).await;
    }

    async fn push(&self, trigger: usize) {
        let _one_at_a_time = self.scaling.lock().await;
        let Some(replicas) = self.replicas().await else { return };
        let now = self.start.elapsed();
        let change = self.keda().pushed(now, replicas, trigger);
        self.change(change, Report::of_push(now, replicas, change)).await;
    }

    async fn replicas(&self) -> Option<u32> {
        match self.target.replicas().await {
            Ok(scale) => Some(scale.spec),
            Err(error) => {
                tracing::warn!(%error, "KEDA cannot read the replicas");
                None
            }
        }
    }

    async fn change(&self, change: Option<Change>, mut report: Report) {
        if let Some(change) = change
            && let Err(error) = self.target.scale(change.replicas()).await
        {
            report = report.failed_to_scale(&error.to_string());
        }
        self.report(report);
    }

    fn report(&self, report: Report) {
        // An error means only that there is no receiver.
        let _ = self.reports.send(report);
    }

    fn keda(&self) -> MutexGuard<'_, Keda> {
        self.keda.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
