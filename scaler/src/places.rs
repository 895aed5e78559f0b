//! Places for connections: a limit in total, and one per peer.
//!
//! Each connection holds a place for as long as it lasts. One peer cannot take all places, and there is no queue: a connection that
//! finds no place is closed at once.

use std::{collections::HashMap, net::IpAddr, sync::Arc};

use parking_lot::Mutex;

/// The places of one port.
#[derive(Debug, Clone)]
pub struct Places {
    most: usize,
    of_peer: usize,
    taken: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

/// One place, which is free again when this is dropped.
#[derive(Debug)]
pub struct Place {
    peer: IpAddr,
    taken: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

impl Places {
    /// Creates `most` places, of which one peer gets at most `of_peer`.
    pub fn new(most: usize, of_peer: usize) -> Self {
        Self { most, of_peer, taken: Arc::default() }
    }

    /// Takes a place; `None` when there is none left for this peer. An IPv4 address and its IPv4-mapped IPv6 form are one peer.
    pub fn take(&self, peer: IpAddr) -> Option<Place> {
        let peer = peer.to_canonical();
        let mut taken = self.taken.lock();
        let all: usize = taken.values().sum();
        let own = taken.get(&peer).copied().unwrap_or(0);
        if all >= self.most || own >= self.of_peer {
            return None;
        }
        taken.insert(peer, own + 1);
        Some(Place { peer, taken: Arc::clone(&self.taken) })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.taken.lock();
        match taken.get_mut(&self.peer) {
            Some(own) if *own > 1 => *own -= 1,
            _ => _ = taken.remove(&self.peer),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_peer_cannot_take_all_places_and_each_comes_back() {
        let places = Places::new(5, 3);
        let (greedy, other) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
        let held: Vec<_> = (0..10).filter_map(|_| places.take(greedy)).collect();
        assert_eq!(held.len(), 3);
        let (first, second) = (places.take(other).unwrap(), places.take(other).unwrap());
        assert!(places.take(other).is_none(), "all are taken");
        drop(held);
        assert!(places.take(greedy).is_some());
        drop((first, second));
        assert!(places.taken.lock().is_empty(), "nothing is remembered of who is gone");
    }
}
