//! The pod runner: a small kubelet for the pods whose images stand for a program of ours or of a peer.
//!
//! Each of them gets its own address and network namespace, its volumes, its environment and its probes; its containers are
//! processes, started again when they end. The other work of a kubelet (limits, users, liveness and start-up probes, init
//! containers that end) is left out. All other pods are left to kwok.

mod image;
mod life;
mod probe;
mod sidecars;
mod spec;
mod status;
mod volumes;

use std::{
    collections::{HashMap, HashSet},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use futures::StreamExt;
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, Client, ResourceExt,
    runtime::watcher::{self, Event, watcher},
};
use tokio::sync::watch;

use crate::plane::{Plane, Processes};

pub(crate) use self::image::REAL_IMAGES;

/// State that all pods share.
pub(crate) struct Runner {
    client: Client,
    /// Program of each image.
    programs: HashMap<&'static str, PathBuf>,
    processes: Processes,
    logs: PathBuf,
    state: PathBuf,
    next: AtomicU32,
}

/// The latest object of a pod; its sender is dropped when the pod is gone.
type Seen = watch::Receiver<Arc<Pod>>;

impl Runner {
    pub(crate) fn new(plane: &Plane, client: Client) -> Self {
        Self {
            client,
            programs: image::programs(&plane.settings),
            processes: Arc::clone(&plane.processes),
            logs: plane.logs.clone(),
            state: plane.state.join("pods"),
            // 0 is Envoy Gateway.
            next: AtomicU32::new(1),
        }
    }

    /// Runs pods until the stack ends.
    pub(crate) async fn run(self) {
        let runner = Arc::new(self);
        let mut pods: HashMap<String, watch::Sender<Arc<Pod>>> = HashMap::new();
        let mut listed = HashSet::new();
        let mut events = watcher(Api::<Pod>::all(runner.client.clone()), watcher::Config::default()).boxed();
        while let Some(event) = events.next().await {
            match event {
                Ok(Event::Init) => listed.clear(),
                Ok(Event::InitApply(pod)) => {
                    listed.extend(pod.uid());
                    runner.see(&mut pods, pod);
                }
                Ok(Event::InitDone) => pods.retain(|uid, _| listed.contains(uid)),
                Ok(Event::Apply(pod)) => runner.see(&mut pods, pod),
                Ok(Event::Delete(pod)) => {
                    pods.remove(&pod.uid().unwrap_or_default());
                }
                // The API server is away; pods that run keep running.
                Err(_) => tokio::time::sleep(Duration::from_millis(200)).await,
            }
        }
    }

    fn see(self: &Arc<Self>, pods: &mut HashMap<String, watch::Sender<Arc<Pod>>>, pod: Pod) {
        let Some(uid) = pod.uid() else { return };
        if let Some(known) = pods.get(&uid) {
            known.send_replace(Arc::new(pod));
            return;
        }
        let scheduled = pod.spec.as_ref().is_some_and(|spec| spec.node_name.is_some());
        if scheduled && image::is_real(&pod) {
            let (sender, seen) = watch::channel(Arc::new(pod));
            pods.insert(uid, sender);
            tokio::spawn(life::live(Arc::clone(self), seen));
        }
    }

    fn next_number(&self) -> u32 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }
}
