//! The activator as a part of `tidegate run`: it holds requests to workloads without replicas.

use std::{net::SocketAddr, sync::Arc};

use anyhow::Result;
use futures::{FutureExt, future::BoxFuture};
use prometheus_client::registry::Registry;
use tidegate_activator::{Activator, Closed, Doors, HoldLimits};
use tidegate_core::{
    ids::ServiceId,
    plan::{Plan, PlannedWorkload},
    workload::WorkloadId,
};
use tidegate_operator::{
    context::Context,
    endpoints::{self, Blocked, EndpointBook, GateSettings, LINGER, Starts},
};
use tidegate_scaler::demand::{Demands, Gates};
use tokio::{sync::watch, time::sleep};
use tokio_util::sync::CancellationToken;

use crate::{admin::Check, args::ActivatorArgs};

/// The activator, and what leads requests to it. Clones share it.
#[derive(Clone)]
pub(crate) struct Hold {
    activator: Arc<Activator>,
    book: EndpointBook,
    settings: GateSettings,
    peer_address: SocketAddr,
    doors: watch::Sender<Arc<Doors>>,
    starts: Starts,
    blocked: Blocked,
}

impl Hold {
    /// `None` where requests are not to be held.
    pub(crate) fn of(args: &ActivatorArgs, release: String, namespace: &str, registry: &mut Registry) -> Option<Self> {
        if !args.enabled {
            return None;
        }
        let limits = HoldLimits { total: args.max_held as usize, ..HoldLimits::default() };
        let activator = Activator::new(args.address, limits);
        activator.register(registry);
        let service = |name: &String| ServiceId { namespace: namespace.to_owned(), name: name.clone() };
        let settings = GateSettings {
            release,
            ports: args.ports.clone(),
            service: args.service.as_ref().map(service),
            address: args.pod_ip.or_else(|| Some(args.address).filter(|address| !address.is_unspecified())),
        };
        let (doors, _) = watch::channel(Arc::default());
        Some(Self {
            activator,
            book: EndpointBook::default(),
            settings,
            peer_address: args.peer_address,
            doors,
            starts: Starts::default(),
            blocked: Blocked::default(),
        })
    }

    /// Where the addresses in EndpointSlices go.
    pub(crate) fn book(&self) -> EndpointBook {
        self.book.clone()
    }

    /// The settings of the EndpointSlices.
    pub(crate) fn settings(&self) -> GateSettings {
        self.settings.clone()
    }

    /// The interface of the scaler to what is held.
    pub(crate) fn gates(&self) -> Gates {
        let (activator, book, release) = (Arc::clone(&self.activator), self.book(), self.settings.release.clone());
        let lead = move |workload: &PlannedWorkload| {
            let gates = workload.gates.as_ref();
            gates.is_ok_and(|gates| gates.iter().all(|gate| book.leads_to_us(&gate.service, &release)))
        };
        let (news, starts, refusing) = (self.activator.news(), self.starts.clone(), Arc::clone(&self.activator));
        Gates {
            held: Arc::new(move |id| activator.held(id)),
            lead: Arc::new(lead),
            refused: Arc::new(move |id| refusing.refused(id)),
            started: Arc::new(move |id| starts.last(id)),
            news,
        }
    }

    /// Returns the function that reports the demand of bursts to the other pods.
    pub(crate) fn report_peaks(
        &self,
        demands: Arc<Demands>,
    ) -> impl Fn() -> BoxFuture<'static, ()> + Send + Sync + use<> {
        let activator = Arc::clone(&self.activator);
        move || {
            let (activator, peaks) = (Arc::clone(&activator), demands.peaks());
            async move { activator.report_peaks(&peaks).await }.boxed()
        }
    }

    /// Measures starts, and asks what keeps pods from getting ready that requests wait for, until the context stops.
    pub(crate) async fn look_at_starts(self, context: Context) {
        let (activator, plans) = (self.activator, context.watches.plan());
        let waiting = Arc::new(move || {
            let own = activator.own().into_iter();
            own.filter(|(_, held)| held.requests + held.connections > 0).map(|(id, _)| id).collect()
        });
        tokio::select! {
            () = self.starts.follow(plans) => {}
            () = self.blocked.follow(waiting, context) => {}
        }
    }

    /// Reports what becomes of held requests to the owners of workloads, while this replica leads.
    pub(crate) async fn report(self, context: Context) {
        let activator = self.activator;
        let refused = Arc::new(move || activator.all_refused());
        tokio::join!(
            endpoints::report_starts(self.starts, context.clone()),
            endpoints::report_refused(refused, context)
        );
    }

    /// Listens where the EndpointSlices say, until some time after `stop`.
    pub(crate) async fn run(
        self,
        plan: watch::Receiver<Option<Arc<Plan>>>,
        demands: Arc<Demands>,
        stop: CancellationToken,
    ) -> Result<()> {
        let of_peaks = Arc::clone(&demands);
        let openings = move |id: &WorkloadId, _: &PlannedWorkload, plan: &Plan| {
            demands.closed(id, plan).map(|opens| Closed { opens })
        };
        let (ends, release) = (CancellationToken::new(), self.settings.release.clone());
        let (peers, told) = watch::channel(Arc::default());
        let listen = Arc::clone(&self.activator).run(self.doors.subscribe(), ends.clone());
        let heard_peaks = Arc::new(move |peaks| of_peaks.keep_peaks(peaks));
        let talk = Arc::clone(&self.activator).run_peers(self.peer_address, told, heard_peaks, ends.clone());
        let linger = async {
            stop.cancelled().await;
            if !self.book.own_services(&release).is_empty() {
                sleep(LINGER).await;
            }
            ends.cancel();
        };
        // Doors and peers are followed until everything that is held has found its pod.
        let (book, blocked, doors) = (self.book(), self.blocked.clone(), self.doors.clone());
        let openings = Arc::new(openings);
        tokio::select! {
            (talked, ..) = async { tokio::join!(talk, listen, linger) } => Ok(talked?),
            () = endpoints::follow_doors(release.clone(), book, plan, openings, blocked, doors) => Ok(()),
            () = self.follow_peers(peers) => Ok(()),
        }
    }

    /// Keeps the addresses of the other replicas of Tidegate up to date.
    async fn follow_peers(&self, peers: watch::Sender<Arc<[SocketAddr]>>) {
        let mut changes = self.book.changes();
        loop {
            let others =
                self.settings.addresses(&self.book).into_iter().filter(|ip| Some(*ip) != self.settings.address);
            let others: Arc<[_]> = others.map(|ip| SocketAddr::new(ip, self.peer_address.port())).collect();
            peers.send_if_modified(|known| {
                let differs = *known != others;
                *known = others;
                differs
            });
            if changes.changed().await.is_err() {
                return;
            }
        }
    }

    /// Whether it listens wherever an EndpointSlice leads requests to it.
    pub(crate) fn check(&self) -> Check {
        let failing = self.activator.failing();
        let failed = failing.first().map(|(port, error)| format!("cannot listen on port {port}: {error}"));
        let listening = self.activator.listening();
        let opening = || self.doors.borrow().keys().find(|port| !listening.contains(port)).copied();
        let missing = failed.or_else(|| opening().map(|port| format!("port {port} is about to be opened")));
        Check { name: "activator".to_owned(), missing, required: true }
    }
}
