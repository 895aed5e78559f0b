//! Processes that push tokens: the counts of each, and when it has ended.
//!
//! Senders are unauthenticated, so each standing with the Plan has room of its own. Senders that the Plan knows always find
//! theirs.

use std::{
    collections::{HashMap, hash_map::Entry},
    net::IpAddr,
    time::Duration,
};

use tokio::time::Instant;

use super::{
    heard::{Heard, Silence},
    tokens::Tokens,
    who::Standing,
};

/// Shortest silence after which a process that was replaced is taken to have ended.
const SILENT_AT_LEAST: Duration = Duration::from_secs(10);
/// A sender silent for longer than this is forgotten once its last value is too old to be used; if it returns, it is new.
pub(super) const FORGET_AFTER: Duration = Duration::from_secs(900);

/// The limits for senders of one standing.
#[derive(Debug)]
struct Room {
    senders: usize,
    /// Senders of one origin: from one address, as one AI gateway or as guests
    of_origin: usize,
    /// Series of tokens, at 400 bytes each
    series: usize,
}

/// Together 500,000 series, which are some 190 MiB.
const KNOWN: Room = Room { senders: 10_000, of_origin: 64, series: 350_000 };
const NAMED: Room = Room { senders: 4_000, of_origin: 4, series: 125_000 };
const GUESTS: Room = Room { senders: 256, of_origin: 64, series: 25_000 };

impl Standing {
    fn room(&self) -> &'static Room {
        match self {
            Self::Known => &KNOWN,
            Self::Named(_) => &NAMED,
            Self::Guest => &GUESTS,
        }
    }

    /// The index of its room in `Senders::taken`.
    fn index(&self) -> usize {
        match self {
            Self::Known => 0,
            Self::Named(_) => 1,
            Self::Guest => 2,
        }
    }
}

type Origin = (IpAddr, Standing);

/// The part of a room that is in use.
#[derive(Debug, Clone, Copy, Default)]
struct Taken {
    senders: usize,
    series: usize,
}

/// The senders that were heard, by the name that distinguishes one process from another.
#[derive(Debug, Default)]
pub(super) struct Senders {
    known: HashMap<String, Sender>,
    origins: HashMap<Origin, usize>,
    taken: [Taken; 3],
}

/// One process that pushes.
#[derive(Debug)]
struct Sender {
    origin: Origin,
    heard: Heard,
    tokens: Tokens,
}

impl Senders {
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.known.len()
    }

    /// Processes a message of this process with `take_in`, which may add so many new series. `None` when there is no room for the
    /// sender.
    pub(super) fn hear<T>(
        &mut self,
        name: &str,
        origin: Origin,
        at: Instant,
        take_in: impl FnOnce(&mut Tokens, usize) -> T,
    ) -> Option<T> {
        self.admit(name, origin, at)?;
        let sender = self.known.get_mut(name)?;
        sender.heard.again(at);
        let standing = &sender.origin.1;
        let taken = &mut self.taken[standing.index()];
        let before = sender.tokens.len();
        let result = take_in(&mut sender.tokens, standing.room().series.saturating_sub(taken.series));
        taken.series += sender.tokens.len() - before;
        Some(result)
    }

    /// Adds the sender, or moves it to this origin: the Plan may have come to know it, or no longer does. `None` when there is no
    /// room.
    fn admit(&mut self, name: &str, origin: Origin, at: Instant) -> Option<()> {
        let mut series = 0;
        if let Some(sender) = self.known.get_mut(name) {
            if sender.origin == origin {
                return Some(());
            }
            let before = std::mem::replace(&mut sender.origin, origin.clone());
            series = sender.tokens.len();
            self.leave(&before, series);
        } else {
            self.has_room(&origin).then_some(())?;
            let (heard, tokens) = (Heard::first(at), Tokens::default());
            self.known.insert(name.to_owned(), Sender { origin: origin.clone(), heard, tokens });
        }
        let taken = &mut self.taken[origin.1.index()];
        (taken.senders, taken.series) = (taken.senders + 1, taken.series + series);
        *self.origins.entry(origin).or_default() += 1;
        Some(())
    }

    fn has_room(&self, origin: &Origin) -> bool {
        let (room, taken) = (origin.1.room(), self.taken[origin.1.index()]);
        taken.senders < room.senders && self.origins.get(origin).is_none_or(|senders| *senders < room.of_origin)
    }

    fn leave(&mut self, origin: &Origin, series: usize) {
        let taken = &mut self.taken[origin.1.index()];
        *taken = Taken { senders: taken.senders.saturating_sub(1), series: taken.series.saturating_sub(series) };
        if let Entry::Occupied(mut entry) = self.origins.entry(origin.clone()) {
            *entry.get_mut() -= 1;
            if *entry.get() == 0 {
                entry.remove();
            }
        }
    }

    /// Forgets senders that have ended, or were silent for longer than `patience`, and returns their names.
    ///
    /// A process that restarts gets another name at the same address: the contribution of the one before has ended. Behind a
    /// collector many processes share an address, so only one that was first heard after the other was last heard can have
    /// replaced it.
    pub(super) fn forget_over(&mut self, patience: Duration) -> Vec<String> {
        let mut youngest = HashMap::<IpAddr, Instant>::new();
        for Sender { origin: (address, _), heard, .. } in self.known.values() {
            let first = youngest.entry(*address).or_insert(heard.first);
            *first = heard.first.max(*first);
        }
        let is_over = |sender: &Sender| {
            let Silence { lasts, usual } = sender.heard.silence();
            let replaced = youngest.get(&sender.origin.0).is_some_and(|first| *first > sender.heard.last);
            lasts > patience || replaced && lasts > (usual * 2).max(SILENT_AT_LEAST)
        };
        let over = self.known.iter().filter(|(_, sender)| is_over(sender));
        let over: Vec<_> = over.map(|(name, _)| name.clone()).collect();
        for name in &over {
            if let Some(sender) = self.known.remove(name) {
                self.leave(&sender.origin, sender.tokens.len());
            }
        }
        over
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    const ADDRESS: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 9));

    fn hear(senders: &mut Senders, name: &str, standing: Standing) -> bool {
        senders.hear(name, (ADDRESS, standing), Instant::now(), |_, _| ()).is_some()
    }

    /// Has these senders push every 5 s for so many seconds, and returns the names of those that are forgotten.
    async fn push(senders: &mut Senders, names: &[&str], seconds: u64) -> Vec<String> {
        let mut over = Vec::new();
        for _ in 0..seconds / 5 {
            assert!(names.iter().all(|name| hear(senders, name, Standing::Known)));
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
    async fn eight_thousand_senders_of_a_stranger_take_little_room_and_none_of_those_that_the_plan_knows() {
        let mut senders = Senders::default();
        let named = Standing::Named("eg/ai".into());
        let admitted = |senders: &mut Senders, standing: &Standing| {
            (0..8000).filter(|sender| hear(senders, &format!("{standing:?} {sender}"), standing.clone())).count()
        };
        assert_eq!(admitted(&mut senders, &Standing::Guest), GUESTS.of_origin);
        assert_eq!(admitted(&mut senders, &named), NAMED.of_origin);
        assert!(hear(&mut senders, "good", Standing::Known));
        let another = (ADDRESS, Standing::Named("eg/another".into()));
        assert!(senders.hear("good too", another, Instant::now(), |_, _| ()).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn senders_that_come_and_go_are_forgotten_and_leave_room() {
        let mut senders = Senders::default();
        for sender in 0..GUESTS.of_origin {
            assert!(hear(&mut senders, &format!("sender {sender}"), Standing::Guest));
        }
        assert!(!hear(&mut senders, "one more", Standing::Guest));
        advance(FORGET_AFTER + Duration::from_secs(1)).await;
        assert_eq!(senders.forget_over(FORGET_AFTER).len(), GUESTS.of_origin);
        assert!(hear(&mut senders, "one more", Standing::Guest));
        assert_eq!((senders.origins.len(), senders.taken[2].senders), (1, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_sender_that_the_plan_comes_to_know_leaves_the_room_of_guests() {
        let mut senders = Senders::default();
        assert!(hear(&mut senders, "one", Standing::Guest));
        assert!(hear(&mut senders, "one", Standing::Known));
        assert_eq!(senders.taken.map(|taken| taken.senders), [1, 0, 0]);
    }
}
