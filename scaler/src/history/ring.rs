//! The changes of one workload, in one piece of memory: the oldest are dropped at its front.

use tidegate_core::workload::WorkloadId;

use super::encoding::Entry;

/// Bytes that a workload takes beside its changes and its name: its place in the table, which is half empty at times, and the
/// allocator's.
const OVERHEAD: usize = 240;

/// Encoded entries, and what was before the first and is after the last.
#[derive(Debug, PartialEq)]
pub(super) struct Ring {
    bytes: Vec<u8>,
    start: Mark,
    end: u32,
}

/// The time and the wanted number between two entries.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Mark {
    at: u32,
    wanted: Option<u32>,
}

impl Ring {
    /// An empty ring of a workload of which this number was wanted.
    pub(super) fn new(at: u32, wanted: Option<u32>) -> Self {
        Self { bytes: Vec::new(), start: Mark { at, wanted }, end: at }
    }

    /// Adds an entry. A clock that was set back stands still meanwhile.
    pub(super) fn push(&mut self, at: u32, entry: &Entry) {
        let mut encoded = Vec::with_capacity(32);
        entry.encode(at.saturating_sub(self.end), &mut encoded);
        self.end = self.end.max(at);
        // Changes are rare and the ring is short, so it is better to have no room to spare in ten thousand of them.
        self.bytes.reserve_exact(encoded.len());
        self.bytes.extend_from_slice(&encoded);
    }

    /// The entries, oldest first, each with its time and the number that was wanted before.
    pub(super) fn entries(&self) -> impl Iterator<Item = (u32, Option<u32>, Entry)> {
        let (mut rest, mut mark) = (&*self.bytes, self.start);
        std::iter::from_fn(move || {
            let (elapsed, entry, after) = Entry::decode(rest)?;
            rest = after;
            let from = mark.wanted;
            mark = Mark { at: mark.at.saturating_add(elapsed), wanted: entry.to };
            Some((mark.at, from, entry))
        })
    }

    /// Drops the oldest entry and returns it.
    pub(super) fn drop_first(&mut self) -> Option<Entry> {
        let first = self.entries().next().map(|(at, ..)| at)?;
        self.drop_until(|at, dropped| at == first && dropped == 0).pop()
    }

    /// Drops the entries of before an instant and returns them.
    pub(super) fn drop_before(&mut self, instant: u32) -> Vec<Entry> {
        self.drop_until(|at, _| at < instant)
    }

    /// Drops entries for as long as `goes` says so, by the time of the entry and how many were dropped.
    fn drop_until(&mut self, goes: impl Fn(u32, usize) -> bool) -> Vec<Entry> {
        let (mut rest, mut dropped) = (&*self.bytes, Vec::new());
        while let Some((elapsed, entry, after)) = Entry::decode(rest) {
            let at = self.start.at.saturating_add(elapsed);
            if !goes(at, dropped.len()) {
                break;
            }
            self.start = Mark { at, wanted: entry.to };
            rest = after;
            dropped.push(entry);
        }
        let gone = self.bytes.len() - rest.len();
        if gone > 0 {
            self.bytes.drain(..gone);
            self.bytes.shrink_to_fit();
        }
        dropped
    }

    /// Time before the oldest entry.
    pub(super) fn start_at(&self) -> u32 {
        self.start.at
    }

    /// The number that was wanted before the oldest entry.
    pub(super) fn start_wanted(&self) -> Option<u32> {
        self.start.wanted
    }

    /// Time of the oldest entry; `None` if there is none.
    pub(super) fn first_at(&self) -> Option<u32> {
        let (elapsed, ..) = Entry::decode(&self.bytes)?;
        Some(self.start.at.saturating_add(elapsed))
    }

    /// Time of the newest entry.
    pub(super) fn last_at(&self) -> u32 {
        self.end
    }

    /// Bytes of the entries.
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Bytes that the workload takes.
    pub(super) fn size(&self, id: &WorkloadId) -> usize {
        self.bytes.capacity() + id.namespace.len() + id.name.len() + OVERHEAD
    }
}
