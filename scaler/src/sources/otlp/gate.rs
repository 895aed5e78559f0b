//! Admission of calls: first the caller is identified, then its message is read, and only then it gets one of the few places in
//! which messages are processed.
//!
//! So a caller that sends its message slowly delays only itself. Callers that the Plan knows have memory and places of their own,
//! which strangers cannot take.

use std::{
    collections::{HashMap, hash_map::Entry},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures::{FutureExt, future::BoxFuture};
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Full};
use parking_lot::Mutex;
use tidegate_core::plan::Plan;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    time::{Instant, timeout_at},
};
use tonic::{Status, body::Body, transport::server::TcpConnectInfo};
use tower::{Layer, Service, ServiceExt};

use super::{
    LARGEST_MESSAGE,
    peers::{FORWARDED_BY, Peers, SENDER},
    who,
};

/// Most calls of one lane that are processed at one time. Each may hold another [`LARGEST_MESSAGE`] for its decompressed message.
const AT_ONCE: usize = 2;
/// Most KiB of one lane's messages that are being read or wait for a place.
const READING_KIB: usize = 40 << 10;
/// The same for one caller: a large message with the spare capacity that it grew into.
const READING_KIB_OF_ONE: usize = 24 << 10;
/// Fewest KiB that a call holds.
const CALL_KIB: usize = 16;
/// Most calls of one caller that are being read or wait for a place.
const CALLS_OF_ONE: usize = 32;
/// Timeouts of reading: a caller that sends nothing for this long is cut off, and so is one whose whole message takes too long.
const NOTHING_FOR: Duration = Duration::from_secs(2);
const WHOLE_WITHIN: Duration = Duration::from_secs(10);

/// The origin of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Caller {
    /// A sender at its own address
    Sender(IpAddr),
    /// Another pod of Tidegate, which forwards a message of the sender at this address
    Peer(IpAddr),
    /// This pod, which does not know its own address yet
    Myself,
}

impl Caller {
    /// The address of the sender; `None` for this pod's own calls, whose content is known already.
    pub(super) fn sender(self) -> Option<IpAddr> {
        match self {
            Self::Sender(address) | Self::Peer(address) => Some(address),
            Self::Myself => None,
        }
    }
}

/// Admits calls.
pub(super) struct Gate {
    plan: watch::Receiver<Option<Arc<Plan>>>,
    peers: Option<Arc<Peers>>,
    known: Lane,
    strangers: Lane,
    callers: Mutex<HashMap<IpAddr, Reading>>,
}

/// The memory and places that callers of one kind share: known ones, or strangers.
struct Lane {
    kib: Arc<Semaphore>,
    places: Arc<Semaphore>,
}

/// The calls and memory that one caller holds.
#[derive(Debug, Clone, Copy, Default)]
struct Reading {
    calls: usize,
    kib: usize,
}

impl Gate {
    pub(super) fn new(plan: watch::Receiver<Option<Arc<Plan>>>, peers: Option<Arc<Peers>>) -> Self {
        Self { plan, peers, known: Lane::new(), strangers: Lane::new(), callers: Mutex::default() }
    }

    /// Returns the call once its message is read and it has a place, which it keeps until the second value is dropped.
    async fn admit(
        self: &Arc<Self>,
        request: Request<Body>,
    ) -> Result<(Request<Body>, (Visit, OwnedSemaphorePermit)), Status> {
        let (peer, local) = ends(&request);
        let mut visit = self.visit(peer)?;
        let caller = self.caller(request.headers(), peer, local).await?;
        let lane = if self.knows(caller) { &self.known } else { &self.strangers };
        let (mut parts, body) = request.into_parts();
        let message = read(body, |kib| visit.hold(kib, &lane.kib)).await?;
        let place = Arc::clone(&lane.places).acquire_owned().await;
        let place = place.map_err(|_closed| Status::unavailable("Tidegate is about to end"))?;
        parts.extensions.insert(caller);
        Ok((Request::from_parts(parts, Body::new(Full::new(message))), (visit, place)))
    }

    /// Identifies the caller. Headers that only Tidegate's pods may set are refused from any other address. If such a call were
    /// taken as an ordinary message, a forged one would at best be attributed to its real sender, and one from a pod that is not
    /// known yet would be lost, because a pod is not a sender.
    async fn caller(&self, headers: &HeaderMap, peer: IpAddr, local: Option<SocketAddr>) -> Result<Caller, Status> {
        let text = |key: &str| headers.get(key).map(|value| value.to_str().unwrap_or_default());
        let (forwarded_by, sender) = match (text(FORWARDED_BY), text(SENDER)) {
            (None, None) => return Ok(Caller::Sender(peer)),
            (forwarded_by, sender) => (forwarded_by.unwrap_or_default(), sender.unwrap_or_default()),
        };
        let strange =
            || Status::permission_denied(format!("{peer} is no pod of Tidegate and cannot say whose a message is"));
        let peers = self.peers.as_ref().ok_or_else(strange)?;
        if peers.is_self(forwarded_by, local) {
            return Ok(Caller::Myself);
        }
        if !peers.has(peer).await {
            return Err(strange());
        }
        let sender = sender.parse::<IpAddr>();
        let sender =
            sender.map_err(|_| Status::invalid_argument(format!("{SENDER} wants the address of the sender")))?;
        Ok(Caller::Peer(sender.to_canonical()))
    }

    fn knows(&self, caller: Caller) -> bool {
        match caller {
            Caller::Sender(address) => self.plan.borrow().as_ref().is_some_and(|plan| who::is_known(plan, address)),
            Caller::Peer(_) | Caller::Myself => true,
        }
    }

    fn visit(self: &Arc<Self>, peer: IpAddr) -> Result<Visit, Status> {
        let mut callers = self.callers.lock();
        let reading = callers.entry(peer).or_default();
        if reading.calls >= CALLS_OF_ONE {
            return Err(Status::unavailable(format!("{CALLS_OF_ONE} calls of {peer} are being read already")));
        }
        reading.calls += 1;
        Ok(Visit { gate: Arc::clone(self), peer, kib: 0, room: None })
    }
}

impl Lane {
    fn new() -> Self {
        Self { kib: Arc::new(Semaphore::new(READING_KIB)), places: Arc::new(Semaphore::new(AT_ONCE)) }
    }
}

/// One call, with the memory that it holds until it is dropped.
struct Visit {
    gate: Arc<Gate>,
    peer: IpAddr,
    kib: usize,
    room: Option<OwnedSemaphorePermit>,
}

impl Visit {
    /// Raises the memory that the call holds to this many KiB, taken from its lane.
    fn hold(&mut self, kib: usize, lane: &Arc<Semaphore>) -> Result<(), Status> {
        let more = kib.max(CALL_KIB).saturating_sub(self.kib);
        if more == 0 {
            return Ok(());
        }
        let full = || Status::unavailable("too many messages are being read: try again");
        let mut callers = self.gate.callers.lock();
        let reading = callers.entry(self.peer).or_default();
        if reading.kib + more > READING_KIB_OF_ONE {
            return Err(full());
        }
        let permits = u32::try_from(more).map_err(|_| full())?;
        let room = Arc::clone(lane).try_acquire_many_owned(permits).map_err(|_| full())?;
        reading.kib += more;
        self.kib += more;
        match &mut self.room {
            Some(held) => held.merge(room),
            None => self.room = Some(room),
        }
        Ok(())
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        if let Entry::Occupied(mut entry) = self.gate.callers.lock().entry(self.peer) {
            let reading = entry.get_mut();
            *reading = Reading { calls: reading.calls.saturating_sub(1), kib: reading.kib.saturating_sub(self.kib) };
            if reading.calls == 0 {
                entry.remove();
            }
        }
    }
}

/// Reads the message. `hold` reserves memory, in KiB, before it is allocated.
async fn read(mut body: Body, mut hold: impl FnMut(usize) -> Result<(), Status>) -> Result<Bytes, Status> {
    let mut message = Vec::new();
    let end = Instant::now() + WHOLE_WITHIN;
    hold(0)?;
    loop {
        let until = end.min(Instant::now() + NOTHING_FOR);
        let frame = timeout_at(until, body.frame()).await.map_err(|_| {
            let (nothing, whole) = (NOTHING_FOR.as_secs(), WHOLE_WITHIN.as_secs());
            Status::deadline_exceeded(format!("the message stood still for {nothing} s, or took longer than {whole} s"))
        })?;
        let Some(frame) = frame else { return Ok(message.into()) };
        let Ok(data) = frame?.into_data() else { continue };
        // Before each message come five bytes: whether it is compressed, and its length.
        if message.len() + data.len() > LARGEST_MESSAGE + 5 {
            let limit = format!("a message is beyond the size limit of {LARGEST_MESSAGE} bytes");
            return Err(Status::out_of_range(limit));
        }
        grow(&mut message, data.len(), &mut hold)?;
        message.extend_from_slice(&data);
    }
}

/// Makes room for so many more bytes, and at least a quarter more: neither reallocates for each frame nor doubles the memory.
fn grow(message: &mut Vec<u8>, by: usize, hold: &mut impl FnMut(usize) -> Result<(), Status>) -> Result<(), Status> {
    if message.capacity() - message.len() < by {
        let more = by.max(message.len() / 4);
        hold((message.len() + more).div_ceil(1024))?;
        message.reserve_exact(more);
    }
    Ok(())
}

/// The addresses of the two ends of a call's connection.
fn ends(request: &Request<Body>) -> (IpAddr, Option<SocketAddr>) {
    let ends = request.extensions().get::<TcpConnectInfo>();
    let peer = ends.and_then(TcpConnectInfo::remote_addr).map_or(Ipv4Addr::UNSPECIFIED.into(), |address| address.ip());
    (peer.to_canonical(), ends.and_then(TcpConnectInfo::local_addr))
}

/// Puts the gate before a service.
#[derive(Clone)]
pub(super) struct GateLayer(pub(super) Arc<Gate>);

/// A service behind the gate.
#[derive(Clone)]
pub(super) struct Gated<S> {
    gate: Arc<Gate>,
    inner: S,
}

impl<S> Layer<S> for GateLayer {
    type Service = Gated<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Gated { gate: Arc::clone(&self.0), inner }
    }
}

impl<S> Service<Request<Body>> for Gated<S>
where
    S: Service<Request<Body>, Response = Response<Body>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Send,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let Self { gate, inner } = self.clone();
        async move {
            match gate.admit(request).await {
                Ok((request, _held)) => inner.oneshot(request).await,
                Err(status) => Ok(status.into_http()),
            }
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use futures::{StreamExt, stream};
    use http_body_util::StreamBody;
    use hyper::body::Frame;
    use tidegate_core::plan::Proxy;
    use tokio::time::sleep;
    use tonic::Code;

    use super::*;

    const STRANGER: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 66));

    /// A gate of a Plan with the proxy 10.0.0.1.
    fn gate() -> Arc<Gate> {
        let stats = ([10, 0, 0, 1], 19001).into();
        let proxy = Proxy { name: "eg/proxy".into(), stats, ready: true, fleet: None };
        let plan = Plan { proxies: vec![proxy], ..Plan::default() };
        Arc::new(Gate::new(watch::channel(Some(Arc::new(plan))).1, None))
    }

    #[tokio::test(start_paused = true)]
    async fn a_message_that_stands_still_is_cut_off_sooner_than_one_that_trickles() {
        let still = Body::new(StreamBody::new(stream::pending::<Result<Frame<Bytes>, Status>>()));
        let trickle = stream::repeat(()).then(async |()| {
            sleep(Duration::from_secs(1)).await;
            Ok::<_, Status>(Frame::data(Bytes::from_static(b"x")))
        });
        let trickle = Body::new(StreamBody::new(Box::pin(trickle)));
        for (body, within) in [(still, NOTHING_FOR), (trickle, WHOLE_WITHIN)] {
            let begun = Instant::now();
            assert_eq!(read(body, |_| Ok(())).await.unwrap_err().code(), Code::DeadlineExceeded);
            assert_eq!(begun.elapsed(), within);
        }
    }

    #[tokio::test]
    async fn a_message_holds_the_memory_that_it_takes_and_no_more_than_one_may() {
        let chunks =
            |count: usize| stream::iter((0..count).map(|_| Ok::<_, Status>(Frame::data(vec![0; 16 << 10].into()))));
        let mut held = 0;
        let message = read(Body::new(StreamBody::new(chunks(64))), |kib| {
            held = held.max(kib);
            Ok(())
        });
        assert_eq!(message.await.unwrap().len(), 1 << 20);
        assert!((1024..1300).contains(&held), "{held} KiB");
        let beyond = read(Body::new(StreamBody::new(chunks(1025))), |_| Ok(())).await.unwrap_err();
        assert_eq!(beyond.code(), Code::OutOfRange);
    }

    #[test]
    fn what_strangers_read_leaves_room_for_callers_that_the_plan_knows() {
        let gate = gate();
        let strangers: Vec<_> = (0..4_u8)
            .map(|stranger| {
                let mut visit = gate.visit([10, 0, 1, stranger].into()).unwrap();
                (visit.hold(READING_KIB / 3, &gate.strangers.kib).is_ok(), visit)
            })
            .collect();
        assert_eq!(strangers.iter().filter(|(has_room, _)| *has_room).count(), 3);
        assert!(gate.knows(Caller::Sender([10, 0, 0, 1].into())) && !gate.knows(Caller::Sender(STRANGER)));
        let mut known = gate.visit([10, 0, 0, 1].into()).unwrap();
        assert!(known.hold(16 << 10, &gate.known.kib).is_ok());
    }

    #[test]
    fn one_caller_reads_no_more_than_its_part_and_what_is_over_is_given_back() {
        let gate = gate();
        let mut first = gate.visit(STRANGER).unwrap();
        first.hold(READING_KIB_OF_ONE - 1, &gate.strangers.kib).unwrap();
        let refused = gate.visit(STRANGER).unwrap().hold(CALL_KIB, &gate.strangers.kib).unwrap_err();
        assert_eq!(refused.code(), Code::Unavailable);
        let more: Vec<_> = (1..CALLS_OF_ONE).map(|_| gate.visit(STRANGER).unwrap()).collect();
        assert_eq!(gate.visit(STRANGER).err().map(|refused| refused.code()), Some(Code::Unavailable));
        drop((first, more));
        assert!(gate.callers.lock().is_empty());
        assert_eq!(gate.strangers.kib.available_permits(), READING_KIB);
    }
}
