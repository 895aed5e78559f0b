//! A Service that routes reach: its shares of clusters, and where each enters it.

use crate::discovery::ServiceAt;
use tidegate_core::plan::ClusterShare;

/// The shares of one Service, with their entrances.
#[derive(Default)]
pub(super) struct Reached<'a> {
    pub(super) shares: Vec<ClusterShare>,
    /// The entrances in the order of the shares, each with the number of its shares: most Services have a single one
    entrances: Vec<(ServiceAt<'a>, usize)>,
}

impl<'a> Reached<'a> {
    pub(super) fn add(&mut self, at: ServiceAt<'a>, share: ClusterShare) {
        if self.shares.is_empty() {
            // Most Services have a single share, and `push` would make room for four.
            self.shares.reserve_exact(1);
        }
        self.shares.push(share);
        match self.entrances.last_mut() {
            Some((last, shares)) if *last == at => *shares += 1,
            Some(_) => self.entrances.push((at, 1)),
            None => self.entrances = vec![(at, 1)],
        }
    }

    /// The entrances, each with its shares.
    pub(super) fn by_entrance(&self) -> impl Iterator<Item = (&ServiceAt<'a>, &[ClusterShare])> {
        let mut shares = self.shares.as_slice();
        self.entrances.iter().map(move |(at, count)| {
            let (own, rest) = shares.split_at(shares.len().min(*count));
            shares = rest;
            (at, own)
        })
    }

    /// The entrance, if there is only one.
    pub(super) fn only_entrance(&self) -> Option<&ServiceAt<'a>> {
        let ((first, _), rest) = self.entrances.split_first()?;
        rest.iter().all(|(at, _)| at == first).then_some(first)
    }
}
