//! Why a workload scaled yesterday: the changes of its wanted number, and of what it is made of.
//!
//! Each process looks at all workloads at the same instants (see [`record()`]), so that all of them remember the same, whichever of them
//! KEDA asks. It is kept in memory, in bounds: each workload has a ring of its own, so that one that changes all the time costs no
//! other its past; and when all of them are too large, the oldest changes go first.

mod answer;
mod change;
mod encoding;
mod look;
mod record;
mod ring;
mod texts;
mod transfer;
mod window;

use std::{collections::HashMap, fmt};

use chrono::{DateTime, Utc};
use parking_lot::Mutex;
use tidegate_core::workload::WorkloadId;

pub use self::{
    answer::{HistoryAnswer, ToldChange},
    change::{Cause, Change, Decisive, Limit, Why},
    look::Recorder,
    record::record,
};
use self::{encoding::Entry, ring::Ring, texts::Texts};

/// Limits of the memory that a history takes, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HistoryLimits {
    /// All of it
    pub total: usize,
    /// The changes of one workload
    pub of_workload: usize,
}

impl Default for HistoryLimits {
    /// Meant for 10,000 workloads in 32 MiB, with some room for the allocator and for the state of [`Recorder`]; a workload can fill
    /// half a thousandth of it, some 900 changes.
    fn default() -> Self {
        Self { total: 26 << 20, of_workload: 16 << 10 }
    }
}

/// The changes of all workloads.
pub struct History {
    limits: HistoryLimits,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    rings: HashMap<WorkloadId, Ring>,
    texts: Texts,
    /// Bytes of all rings
    bytes: usize,
}

impl Default for History {
    fn default() -> Self {
        Self::new(HistoryLimits::default())
    }
}

impl History {
    /// An empty history.
    pub fn new(limits: HistoryLimits) -> Self {
        Self { limits, kept: Mutex::default() }
    }

    /// Adds a change, later than all others of its workload. Times are kept in whole seconds.
    pub fn add(&self, id: &WorkloadId, change: &Change) {
        let mut kept = self.kept.lock();
        kept.push(id, change);
        kept.shorten(id, self.limits.of_workload);
        kept.drop_oldest(self.limits.total);
    }

    /// The changes of a workload since an instant, oldest first.
    pub fn changes(&self, id: &WorkloadId, since: DateTime<Utc>) -> Vec<Change> {
        let kept = self.kept.lock();
        let Some(ring) = kept.rings.get(id) else { return Vec::new() };
        let since = seconds(since);
        let entries = ring.entries().filter(|(at, ..)| *at >= since);
        entries.map(|(at, from, entry)| kept.texts.unpacked(at, from, entry)).collect()
    }

    /// The last changes of a workload, oldest first.
    pub fn last(&self, id: &WorkloadId, count: usize) -> Vec<Change> {
        let kept = self.kept.lock();
        let Some(ring) = kept.rings.get(id) else { return Vec::new() };
        let skipped = ring.entries().count().saturating_sub(count);
        ring.entries().skip(skipped).map(|(at, from, entry)| kept.texts.unpacked(at, from, entry)).collect()
    }

    /// The wanted numbers of a workload at instants, which are in order; `None` where nothing is remembered, and where it was not known.
    pub fn wanted(&self, id: &WorkloadId, instants: &[DateTime<Utc>]) -> Vec<Option<u32>> {
        let kept = self.kept.lock();
        let Some(ring) = kept.rings.get(id) else { return vec![None; instants.len()] };
        let mut entries = ring.entries().peekable();
        let mut wanted = entries.peek().and_then(|(_, from, _)| *from);
        let at = |instant: &DateTime<Utc>| {
            while let Some((_, _, entry)) = entries.next_if(|(at, ..)| *at <= seconds(*instant)) {
                wanted = entry.to;
            }
            wanted
        };
        instants.iter().map(at).collect()
    }

    /// The first instant that is remembered of a workload.
    pub fn since(&self, id: &WorkloadId) -> Option<DateTime<Utc>> {
        self.kept.lock().rings.get(id)?.first_at().map(instant)
    }

    /// Bytes that it takes, with what the allocator and the table need for each workload.
    pub fn size(&self) -> usize {
        self.kept.lock().size()
    }
}

impl Kept {
    fn size(&self) -> usize {
        self.bytes + self.texts.size()
    }

    fn push(&mut self, id: &WorkloadId, change: &Change) {
        let entry = self.texts.packed(change);
        let at = seconds(change.at);
        let before = self.rings.get(id).map_or(0, |ring| ring.size(id));
        let ring = self.rings.entry(id.clone()).or_insert_with(|| Ring::new(at, change.from));
        ring.push(at, &entry);
        self.bytes = self.bytes + ring.size(id) - before;
    }

    /// Takes a workload's ring out.
    fn take(&mut self, id: &WorkloadId) -> Option<Ring> {
        let ring = self.rings.remove(id)?;
        self.bytes -= ring.size(id);
        Some(ring)
    }

    /// Puts a ring in place of none.
    fn give(&mut self, id: &WorkloadId, ring: Ring) {
        if ring.len() > 0 {
            self.bytes += ring.size(id);
            self.rings.insert(id.clone(), ring);
        }
    }

    /// Drops the oldest changes of one workload until it takes no more than this.
    fn shorten(&mut self, id: &WorkloadId, most: usize) {
        let Some(ring) = self.rings.get_mut(id) else { return };
        let before = ring.size(id);
        while ring.len() > most
            && let Some(entry) = ring.drop_first()
        {
            self.texts.release(&entry);
        }
        self.bytes = self.bytes + ring.size(id) - before;
    }

    /// Drops the oldest changes of all workloads until all takes no more than this: each time a sixteenth of the past, so that the
    /// search for them is rare.
    fn drop_oldest(&mut self, most: usize) {
        while self.size() > most {
            let firsts = self.rings.values().filter_map(Ring::first_at);
            let Some(oldest) = firsts.min() else { return };
            let newest = self.rings.values().map(Ring::last_at).max().unwrap_or(oldest);
            self.drop_before(oldest + (newest - oldest) / 16 + 1);
        }
    }

    fn drop_before(&mut self, at: u32) {
        let Self { rings, texts, bytes } = self;
        rings.retain(|id, ring| {
            let before = ring.size(id);
            ring.drop_before(at).iter().for_each(|entry| texts.release(entry));
            let stays = ring.len() > 0;
            *bytes -= before;
            *bytes += if stays { ring.size(id) } else { 0 };
            stays
        });
        rings.shrink_to(rings.len() * 2);
    }
}

impl Texts {
    fn packed(&mut self, change: &Change) -> Entry {
        let Change { at: _, from: _, to, cause, detail, why, replicas } = change;
        let mut text = |text: &Option<String>| text.as_deref().map(|text| self.take(text));
        Entry {
            to: *to,
            cause: *cause,
            detail: text(detail),
            unknown: text(&why.unknown),
            why: why.without_text(),
            replicas: *replicas,
        }
    }

    fn unpacked(&self, at: u32, from: Option<u32>, entry: Entry) -> Change {
        let Entry { to, cause, detail, unknown, why, replicas } = entry;
        let text = |id: Option<u32>| id.and_then(|id| self.get(id)).map(ToOwned::to_owned);
        Change {
            at: instant(at),
            from,
            to,
            cause,
            detail: text(detail),
            why: Why { unknown: text(unknown), ..why },
            replicas,
        }
    }
}

/// Seconds since 1970, which fit until 2106.
fn seconds(at: DateTime<Utc>) -> u32 {
    u32::try_from(at.timestamp().max(0)).unwrap_or(u32::MAX)
}

fn instant(seconds: u32) -> DateTime<Utc> {
    DateTime::from_timestamp(seconds.into(), 0).unwrap_or_default()
}

impl fmt::Debug for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("History").field("limits", &self.limits).field("size", &self.size()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
