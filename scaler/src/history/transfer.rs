//! The history of one workload as bytes, in which one process gives it to another that has just started.
//!
//! The workload's name as JSON; the time and the number before the first entry; the texts; the entries, in which the texts are numbered
//! within the record. The name and each text begin with their length.

use std::collections::HashMap;

use tidegate_core::workload::WorkloadId;

use super::{
    History,
    encoding::{Entry, Reader, integer},
    ring::Ring,
};

/// Most texts of one record: each change has two at most.
const MOST_TEXTS: usize = 4096;

impl History {
    /// The workloads that are remembered.
    pub fn workloads(&self) -> Vec<WorkloadId> {
        self.kept.lock().rings.keys().cloned().collect()
    }

    /// What is remembered of a workload.
    pub fn record(&self, id: &WorkloadId) -> Option<Vec<u8>> {
        let kept = self.kept.lock();
        let ring = kept.rings.get(id)?;
        let (mut texts, mut numbers, mut entries) = (Vec::new(), HashMap::new(), Vec::new());
        let mut number = |of: Option<u32>| {
            let text = kept.texts.get(of?)?;
            Some(*numbers.entry(of?).or_insert_with(|| {
                texts.push(text);
                (texts.len() - 1) as u32
            }))
        };
        let mut before = ring.start_at();
        for (at, _, entry) in ring.entries() {
            let (detail, unknown) = (number(entry.detail), number(entry.unknown));
            Entry { detail, unknown, ..entry }.encode(at.saturating_sub(before), &mut entries);
            before = at;
        }
        let mut record = Vec::with_capacity(entries.len() + 256);
        bytes(&serde_json::to_vec(id).ok()?, &mut record);
        integer(ring.start_at().into(), &mut record);
        integer(ring.start_wanted().map_or(0, |wanted| u64::from(wanted) + 1), &mut record);
        integer(texts.len() as u64, &mut record);
        for text in &texts {
            bytes(text.as_bytes(), &mut record);
        }
        record.extend(entries);
        Some(record)
    }

    /// Takes in the record of another process: what was before all that is remembered here. Returns whether it is one.
    pub fn restore(&self, record: &[u8]) -> bool {
        self.restored(record).is_some()
    }

    fn restored(&self, record: &[u8]) -> Option<()> {
        let mut reader = Reader(record);
        let id: WorkloadId = serde_json::from_slice(reader.slice()?).ok()?;
        let start = reader.integer()?;
        let wanted = reader.wide()?.checked_sub(1).and_then(|wanted| u32::try_from(wanted).ok());
        let count = reader.integer()? as usize;
        if count > MOST_TEXTS {
            return None;
        }
        let texts: Option<Vec<_>> = (0..count).map(|_| std::str::from_utf8(reader.slice()?).ok()).collect();
        let texts = texts?;
        let mut kept = self.kept.lock();
        let own = kept.take(&id);
        let until = own.as_ref().and_then(Ring::first_at).unwrap_or(u32::MAX);
        let (mut ring, mut at, mut rest) = (Ring::new(start, wanted), start, reader.0);
        while let Some((elapsed, entry, after)) = Entry::decode(rest) {
            (at, rest) = (at.saturating_add(elapsed), after);
            if at >= until {
                break;
            }
            let mut text = |number: Option<u32>| Some(kept.texts.take(texts.get(number? as usize)?));
            let (detail, unknown) = (text(entry.detail), text(entry.unknown));
            ring.push(at, &Entry { detail, unknown, ..entry });
        }
        for (at, _, entry) in own.iter().flat_map(super::ring::Ring::entries) {
            ring.push(at, &entry);
        }
        kept.give(&id, ring);
        kept.shorten(&id, self.limits.of_workload);
        kept.drop_oldest(self.limits.total);
        Some(())
    }
}

fn bytes(of: &[u8], record: &mut Vec<u8>) {
    integer(of.len() as u64, record);
    record.extend(of);
}
