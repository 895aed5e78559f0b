//! An activator with one door, and pods behind it.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full, combinators::BoxBody};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use tidegate_activator::{Activator, Door, DoorProtocol, DoorRules, Doors, HoldLimits};
use tidegate_core::{
    held::Held,
    ids::ServiceId,
    workload::{WorkloadId, WorkloadRef},
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
    time::sleep,
};
use tokio_util::sync::CancellationToken;

/// Longest time that a test waits for anything.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// A running activator.
pub(crate) struct Site {
    pub(crate) activator: Arc<Activator>,
    pub(crate) address: SocketAddr,
    pub(crate) doors: watch::Sender<Arc<Doors>>,
    pub(crate) stop: CancellationToken,
    pub(crate) running: JoinHandle<()>,
}

pub(crate) fn workload() -> WorkloadId {
    "deployment/task-api".parse::<WorkloadRef>().unwrap().within("shop")
}

/// A port of this machine that nothing listens on.
pub(crate) async fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap().local_addr().unwrap().port()
}

fn closed_door() -> Door {
    Door {
        service: ServiceId { namespace: "shop".into(), name: "task-api".into() },
        port: "http".into(),
        workload: workload(),
        protocol: DoorProtocol::Sniffed,
        backends: Arc::new([]),
        rules: Arc::new(DoorRules { hold_timeout: DEADLINE, ..DoorRules::default() }),
    }
}

impl Site {
    pub(crate) async fn open() -> Self {
        Self::with(HoldLimits::default(), |_| {}).await
    }

    /// A site whose rules differ from the defaults.
    pub(crate) async fn with_rules(change: impl FnOnce(&mut DoorRules)) -> Self {
        Self::with(HoldLimits::default(), |door| {
            let mut rules = DoorRules::clone(&door.rules);
            change(&mut rules);
            door.rules = Arc::new(rules);
        })
        .await
    }

    pub(crate) async fn with(limits: HoldLimits, change: impl FnOnce(&mut Door)) -> Self {
        let port = free_port().await;
        let mut door = closed_door();
        change(&mut door);
        let doors = watch::Sender::new(Arc::new(BTreeMap::from([(port, door)])));
        let activator = Activator::new(Ipv4Addr::LOCALHOST.into(), limits);
        let stop = CancellationToken::new();
        let running = tokio::spawn(Arc::clone(&activator).run(doors.subscribe(), stop.clone()));
        let site = Self { activator, address: (Ipv4Addr::LOCALHOST, port).into(), doors, stop, running };
        until("the door is open", || site.activator.listening() == [port]).await;
        site
    }

    /// Changes the door while it is open.
    pub(crate) fn change(&self, change: impl FnOnce(&mut Door)) {
        self.doors.send_modify(|doors| {
            let mut changed = Doors::clone(doors);
            changed.values_mut().next().map(change);
            *doors = Arc::new(changed);
        });
    }

    pub(crate) fn change_rules(&self, change: impl FnOnce(&mut DoorRules)) {
        self.change(|door| {
            let mut rules = DoorRules::clone(&door.rules);
            change(&mut rules);
            door.rules = Arc::new(rules);
        });
    }

    /// Makes these pods ready, and no others.
    pub(crate) fn ready(&self, pods: &[SocketAddr]) {
        self.change(|door| door.backends = pods.into());
    }

    pub(crate) fn held(&self) -> Held {
        self.activator.held(&workload())
    }

    pub(crate) async fn until_requests(&self, requests: u64) {
        until(&format!("{requests} requests are held"), || self.held().requests == requests).await;
    }

    pub(crate) async fn until_connections(&self, connections: u64) {
        until(&format!("{connections} connections are held"), || self.held().connections == connections).await;
    }

    pub(crate) async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }
}

/// Waits for a condition.
pub(crate) async fn until(what: &str, condition: impl Fn() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < DEADLINE, "waited {DEADLINE:?} until {what}");
        sleep(Duration::from_millis(2)).await;
    }
}

/// The body of a pod's answer.
pub(crate) type PodBody = BoxBody<Bytes, hyper::Error>;

pub(crate) fn text(text: impl Into<Bytes>) -> PodBody {
    Full::new(text.into()).map_err(|never: Infallible| match never {}).boxed()
}

/// A server that stands for a pod.
pub(crate) struct Pod {
    pub(crate) address: SocketAddr,
    /// Most requests that it had at one time
    most: Arc<AtomicUsize>,
    seen: Arc<AtomicUsize>,
}

impl Pod {
    /// A pod that answers each request with this function.
    pub(crate) async fn start<F, A>(answer: F) -> Self
    where
        F: Fn(Request<Incoming>) -> A + Clone + Send + Sync + 'static,
        A: Future<Output = Response<PodBody>> + Send,
    {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        Self::serve(listener, answer)
    }

    pub(crate) fn serve<F, A>(listener: TcpListener, answer: F) -> Self
    where
        F: Fn(Request<Incoming>) -> A + Clone + Send + Sync + 'static,
        A: Future<Output = Response<PodBody>> + Send,
    {
        let address = listener.local_addr().unwrap();
        let (now, most, seen) = <(Arc<AtomicUsize>, Arc<AtomicUsize>, Arc<AtomicUsize>)>::default();
        let pod = Self { address, most: Arc::clone(&most), seen: Arc::clone(&seen) };
        let service = service_fn(move |request| {
            let (answer, now, most, seen) = (answer.clone(), Arc::clone(&now), Arc::clone(&most), Arc::clone(&seen));
            async move {
                seen.fetch_add(1, Ordering::SeqCst);
                most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                let answer = answer(request).await;
                now.fetch_sub(1, Ordering::SeqCst);
                Ok::<_, Infallible>(answer)
            }
        });
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let service = service.clone();
                tokio::spawn(async move {
                    let server = auto::Builder::new(TokioExecutor::new());
                    let _ = server.serve_connection_with_upgrades(TokioIo::new(stream), service).await;
                });
            }
        });
        pod
    }

    /// A pod that answers `hello` and its own address.
    pub(crate) async fn greeting() -> Self {
        Self::start(|_| async { Response::new(text("hello")) }).await
    }

    pub(crate) fn most_at_a_time(&self) -> usize {
        self.most.load(Ordering::SeqCst)
    }

    pub(crate) fn seen(&self) -> usize {
        self.seen.load(Ordering::SeqCst)
    }
}
