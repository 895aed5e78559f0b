//! Who pushes: processes, what each has counted, and when it is over.

use std::{collections::HashMap, net::IpAddr, time::Duration};

use tokio::time::Instant;

use super::{clusters::Clusters, tokens::Tokens};

/// Senders that are remembered.
const MAX_SENDERS: usize = 10_000;
/// Series of tokens, of all senders together: some 150 MiB.
const MAX_SERIES: usize = 500_000;
/// Messages that are nearer than this to the one before are parts of one report.
const TOO_NEAR: Duration = Duration::from_millis(100);
/// A process that ended is not called silent before this.
const SILENT_AT_LEAST: Duration = Duration::from_secs(10);
/// Who has not been heard for longer begins anew when it comes back, if what it contributed is over by then too.
pub(super) const FORGET_AFTER: Duration = Duration::from_secs(900);

/// Those that were heard, by what tells one process from another.
#[derive(Debug, Default)]
pub(super) struct Senders {
    known: HashMap<String, Sender>,
    series: usize,
}

/// One process that pushes.
#[derive(Debug)]
pub(super) struct Sender {
    address: IpAddr,
    heard: Heard,
    /// The same of clusters alone: an Envoy and the side-car beside it have one address
    of_clusters: Option<Heard>,
    pub(super) tokens: Tokens,
    pub(super) clusters: Clusters,
}

#[derive(Debug, Clone, Copy)]
struct Heard {
    first: Instant,
    last: Instant,
    usual: Duration,
}

/// How long ago somebody was last heard, and how long that usually is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Silence {
    pub(super) lasts: Duration,
    pub(super) usual: Duration,
}

impl Senders {
    /// A message of this process begins. `None` when there are too many already.
    pub(super) fn hear(&mut self, name: &str, address: IpAddr, at: Instant) -> Option<&mut Sender> {
        if !self.known.contains_key(name) {
            if self.known.len() >= MAX_SENDERS {
                return None;
            }
            self.known.insert(name.to_owned(), Sender::new(address, at));
        }
        let sender = self.known.get_mut(name)?;
        sender.heard.again(at);
        Some(sender)
    }

    /// How many more series of tokens are taken in.
    pub(super) fn room(&self) -> usize {
        MAX_SERIES.saturating_sub(self.series)
    }

    /// So many series of tokens were taken in that were not known.
    pub(super) fn grew(&mut self, series: usize) {
        self.series += series;
    }

    /// Of who told last of clusters at this address.
    pub(super) fn silence(&self, address: IpAddr) -> Option<Silence> {
        let at_it = self.known.values().filter(|sender| sender.address == address);
        at_it.filter_map(|sender| sender.of_clusters).max_by_key(|heard| heard.last).map(Heard::silence)
    }

    /// Forgets those that are over, or silent for longer than `patience`; their names.
    ///
    /// A process that starts again gets another name at the same address: what the one before contributed is over. Behind a
    /// collector many have one address, so that only who began after the other was last heard can have taken its place.
    pub(super) fn forget_over(&mut self, patience: Duration) -> Vec<String> {
        let mut youngest = HashMap::<IpAddr, Instant>::new();
        for sender in self.known.values() {
            let first = youngest.entry(sender.address).or_insert(sender.heard.first);
            *first = sender.heard.first.max(*first);
        }
        let is_over = |sender: &Sender| {
            let Silence { lasts, usual } = sender.heard.silence();
            let replaced = youngest.get(&sender.address).is_some_and(|first| *first > sender.heard.last);
            lasts > patience || replaced && lasts > (usual * 2).max(SILENT_AT_LEAST)
        };
        let over: Vec<_> =
            self.known.iter().filter(|(_, sender)| is_over(sender)).map(|(name, _)| name.clone()).collect();
        for name in &over {
            let series = self.known.remove(name).map_or(0, |sender| sender.tokens.len());
            self.series = self.series.saturating_sub(series);
        }
        over
    }
}

impl Sender {
    fn new(address: IpAddr, at: Instant) -> Self {
        let (tokens, clusters) = (Tokens::default(), Clusters::default());
        Self { address, heard: Heard::first(at), of_clusters: None, tokens, clusters }
    }

    /// Its message of this time tells of clusters.
    pub(super) fn tells_of_clusters(&mut self, at: Instant) {
        self.of_clusters.get_or_insert_with(|| Heard::first(at)).again(at);
    }
}

impl Heard {
    fn first(at: Instant) -> Self {
        Self { first: at, last: at, usual: Duration::ZERO }
    }

    fn again(&mut self, at: Instant) {
        let since = at.saturating_duration_since(self.last);
        if since > TOO_NEAR {
            (self.last, self.usual) = (at, since);
        }
    }

    fn silence(self) -> Silence {
        Silence { lasts: self.last.elapsed(), usual: self.usual }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    const ADDRESS: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 9));

    /// These push every 5 s for so many seconds.
    async fn push(senders: &mut Senders, names: &[&str], seconds: u64) -> Vec<String> {
        let mut over = Vec::new();
        for _ in 0..seconds / 5 {
            for name in names {
                senders.hear(name, ADDRESS, Instant::now()).unwrap();
            }
            advance(Duration::from_secs(5)).await;
            over.extend(senders.forget_over(FORGET_AFTER));
        }
        over
    }

    #[tokio::test(start_paused = true)]
    async fn a_process_that_starts_again_takes_the_place_of_the_one_before() {
        let mut senders = Senders::default();
        assert!(push(&mut senders, &["before"], 60).await.is_empty());
        assert_eq!(push(&mut senders, &["after"], 60).await, ["before"]);
    }

    #[tokio::test(start_paused = true)]
    async fn behind_a_collector_one_that_is_silent_is_not_replaced_by_those_that_are_not() {
        let mut senders = Senders::default();
        assert!(push(&mut senders, &["a", "b"], 60).await.is_empty());
        assert!(push(&mut senders, &["b"], 300).await.is_empty());
        assert_eq!(push(&mut senders, &["b"], 900).await, ["a"], "after a quarter of an hour it is over");
    }

    #[tokio::test(start_paused = true)]
    async fn an_envoy_that_never_pushed_is_not_taken_for_the_side_car_beside_it_that_does() {
        let mut senders = Senders::default();
        push(&mut senders, &["side-car"], 60).await;
        assert_eq!(senders.silence(ADDRESS), None);
        senders.hear("envoy", ADDRESS, Instant::now()).unwrap().tells_of_clusters(Instant::now());
        advance(Duration::from_secs(30)).await;
        push(&mut senders, &["side-car"], 5).await;
        assert_eq!(senders.silence(ADDRESS).map(|silence| silence.lasts), Some(Duration::from_secs(35)));
    }

    #[tokio::test(start_paused = true)]
    async fn senders_that_come_and_go_are_forgotten_and_leave_room() {
        let mut senders = Senders::default();
        for sender in 0..MAX_SENDERS {
            assert!(senders.hear(&format!("sender {sender}"), ADDRESS, Instant::now()).is_some());
        }
        assert!(senders.hear("one more", ADDRESS, Instant::now()).is_none());
        advance(FORGET_AFTER + Duration::from_secs(1)).await;
        assert_eq!(senders.forget_over(FORGET_AFTER).len(), MAX_SENDERS);
        assert!(senders.hear("one more", ADDRESS, Instant::now()).is_some());
    }
}
