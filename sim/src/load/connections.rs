//! Holding as many open TCP connections as the profile gives.

use std::{io, net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::watch,
    task::{AbortHandle, JoinSet},
    time::{Instant, MissedTickBehavior, interval, timeout},
};

use super::{
    LoadLimits, Profile,
    stats::{Outcome, Stats},
};

/// How often the number of connections is adjusted to the profile.
const STEP: Duration = Duration::from_millis(50);

/// Opens and closes connections until the profile ends or the load is stopped, then closes them all.
pub(super) async fn drive(
    profile: Profile,
    limits: LoadLimits,
    mut addresses: watch::Receiver<Vec<SocketAddr>>,
    stats: Stats,
    mut stopped: watch::Receiver<bool>,
) {
    let start = Instant::now();
    let mut tick = interval(STEP);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut open: Vec<AbortHandle> = Vec::new();
    let mut tasks = JoinSet::new();
    let mut turn = 0usize;
    loop {
        tokio::select! {
            biased;
            _ = stopped.wait_for(|stop| *stop) => break,
            _ = tick.tick() => {}
        }
        let now = start.elapsed();
        if now >= profile.duration() {
            break;
        }
        while tasks.try_join_next().is_some() {}
        open.retain(|connection| !connection.is_finished());
        let wanted = (profile.at(now).round() as usize).min(limits.max_in_flight);
        for surplus in open.drain(wanted.min(open.len())..) {
            surplus.abort();
        }
        let addresses = addresses.borrow_and_update().clone();
        while open.len() < wanted {
            let Some(address) = turn.checked_rem(addresses.len()).map(|index| addresses[index]) else { break };
            turn = turn.wrapping_add(1);
            open.push(tasks.spawn(hold(address, limits.timeout, stats.clone())));
        }
    }
    tasks.shutdown().await;
}

/// Opens one connection, verifies it by an echo, and holds it until it is aborted here or closed by the peer.
async fn hold(address: SocketAddr, limit: Duration, stats: Stats) {
    let start = Instant::now();
    let _in_flight = stats.in_flight();
    let Ok(Ok(mut stream)) = timeout(limit, connect(address)).await else {
        return stats.count(Outcome::Error);
    };
    stats.count(Outcome::Ok);
    stats.record(start.elapsed());
    let mut byte = [0];
    while matches!(stream.read(&mut byte).await, Ok(1..)) {}
    stats.count(Outcome::Error);
}

async fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(b"t").await?;
    stream.read_exact(&mut [0]).await?;
    Ok(stream)
}
