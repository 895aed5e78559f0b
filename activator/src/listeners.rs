//! The listening sockets: one for each port of the doors.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Weak},
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{
    net::{TcpListener, TcpSocket},
    sync::Semaphore,
    time::sleep,
};
use tokio_util::sync::CancellationToken;

use crate::{
    connection,
    door::{Door, Doors},
    passage::Passage,
    shared::Shared,
};

/// Connections that the kernel keeps until they are accepted.
const BACKLOG: u32 = 4096;
/// Pause after a failed accept: with an error such as "too many open files", an immediate retry is useless.
const AFTER_ERROR: Duration = Duration::from_millis(100);

/// The open doors of an activator.
#[derive(Debug)]
pub(crate) struct Listeners {
    address: IpAddr,
    shared: Arc<Shared>,
    /// Places of clients' connections
    connections: Arc<Semaphore>,
    open: Mutex<BTreeMap<u16, Open>>,
    /// Doors that went while something was in hand
    closing: Mutex<Vec<Weak<Passage>>>,
    failing: Mutex<BTreeMap<u16, String>>,
}

/// A port that is listened on.
#[derive(Debug)]
struct Open {
    /// Where new connections go
    passage: Arc<Mutex<Arc<Passage>>>,
    stop: CancellationToken,
}

impl Listeners {
    pub(crate) fn new(address: IpAddr, shared: Arc<Shared>) -> Self {
        let connections = Arc::new(Semaphore::new(shared.limits.connections.min(Semaphore::MAX_PERMITS)));
        Self {
            address,
            shared,
            connections,
            open: Mutex::default(),
            closing: Mutex::default(),
            failing: Mutex::default(),
        }
    }

    /// The ports that are listened on.
    pub(crate) fn listening(&self) -> Vec<u16> {
        self.open.lock().keys().copied().collect()
    }

    /// The ports that cannot be listened on, and why.
    pub(crate) fn failing(&self) -> Vec<(u16, String)> {
        self.failing.lock().iter().map(|(port, error)| (*port, error.clone())).collect()
    }

    /// Opens, updates and closes doors. Ports that could not be opened before are tried again.
    pub(crate) fn apply(&self, doors: &Doors) {
        let mut open = self.open.lock();
        open.retain(|port, of_port| {
            let stays = doors.contains_key(port);
            if !stays {
                of_port.stop.cancel();
                self.retire(&of_port.passage.lock());
            }
            stays
        });
        let mut failing = BTreeMap::new();
        for (port, door) in doors {
            match open.get(port) {
                Some(of_port) => self.update(of_port, door),
                None => match self.listen(*port, door) {
                    Ok(of_port) => _ = open.insert(*port, of_port),
                    Err(error) => _ = failing.insert(*port, self.explained(*port, door, &error)),
                },
            }
        }
        self.update_closing(doors);
        self.shared.metrics.ports(open.len(), failing.len());
        let before = std::mem::replace(&mut *self.failing.lock(), failing.clone());
        for error in failing.iter().filter(|(port, _)| !before.contains_key(port)).map(|(_, error)| error) {
            tracing::warn!("{error}");
        }
        let with_door: BTreeSet<_> = doors.values().map(|door| &door.workload).collect();
        self.shared.accounts.forget(|workload| with_door.contains(workload));
    }

    /// Closes all doors.
    pub(crate) fn close(&self) {
        self.open.lock().values().for_each(|open| open.stop.cancel());
        self.open.lock().clear();
    }

    fn listen(&self, port: u16, door: &Door) -> io::Result<Open> {
        let socket = if self.address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        // So that a restart does not wait for the connections of before.
        socket.set_reuseaddr(true)?;
        socket.bind(SocketAddr::new(self.address, port))?;
        let listener = socket.listen(BACKLOG)?;
        let passage = Passage::new(door.clone(), Arc::clone(&self.shared));
        let open = Open { passage: Arc::new(Mutex::new(passage)), stop: CancellationToken::new() };
        let accepting = accept(
            listener,
            Arc::clone(&open.passage),
            Arc::clone(&self.shared),
            Arc::clone(&self.connections),
            open.stop.clone(),
        );
        self.shared.tasks.spawn(accepting);
        Ok(open)
    }

    fn update(&self, open: &Open, door: &Door) {
        let mut passage = open.passage.lock();
        let current = passage.door();
        if *current == *door {
            return;
        }
        if current.is_same_port(door) {
            passage.update(door.clone());
            return;
        }
        // The port belongs to another Service now. Connections to the former one end as if its door had gone.
        self.retire(&passage);
        *passage = Passage::new(door.clone(), Arc::clone(&self.shared));
    }

    /// Has the connections of a door end once nothing of them is in hand.
    fn retire(&self, passage: &Arc<Passage>) {
        passage.closing.cancel();
        self.closing.lock().push(Arc::downgrade(passage));
    }

    /// Lets those that a former door still holds see the pods of the one that took its place, if any did.
    fn update_closing(&self, doors: &Doors) {
        self.closing.lock().retain(|passage| {
            let Some(passage) = passage.upgrade() else { return false };
            if let Some(door) = doors.values().find(|door| door.is_same_port(&passage.door())) {
                passage.update(door.clone());
            }
            true
        });
    }

    fn explained(&self, port: u16, door: &Door, error: &io::Error) -> String {
        let (address, service) = (SocketAddr::new(self.address, port), &door.service);
        format!(
            "cannot listen on {address} for port {:?} of Service {}/{}: {error}. Requests to {} are not held there; another range \
             of ports for the activator may be free",
            door.port, service.namespace, service.name, door.workload
        )
    }
}

/// Accepts connections until `stop` is cancelled, and then those that the kernel has made already: they would be reset otherwise.
async fn accept(
    listener: TcpListener,
    passage: Arc<Mutex<Arc<Passage>>>,
    shared: Arc<Shared>,
    connections: Arc<Semaphore>,
    stop: CancellationToken,
) {
    loop {
        let accepted = tokio::select! {
            biased;
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => return,
        };
        match accepted {
            Ok((stream, _)) => {
                let Ok(place) = Arc::clone(&connections).try_acquire_owned() else {
                    // Closed at once: in a queue, it would depend on the others' goodwill.
                    shared.metrics.client_refused();
                    continue;
                };
                let serving = connection::serve(stream, Arc::clone(&passage.lock()));
                shared.tasks.spawn(async move {
                    serving.await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                sleep(AFTER_ERROR).await;
            }
        }
    }
}
