//! The texts of changes, each kept once.

use std::{borrow::Cow, collections::HashMap, sync::Arc};

use super::encoding::Entry;

/// Longest text that is kept, in bytes.
const LONGEST: usize = 300;
/// Bytes that a text takes beside its own: its slot, its place in the table, and the allocator's.
const OVERHEAD: usize = 120;

/// Texts by number, which are kept for as long as a change uses them.
#[derive(Debug, Default)]
pub(super) struct Texts {
    slots: Vec<Slot>,
    free: Vec<u32>,
    numbers: HashMap<Arc<str>, u32>,
    bytes: usize,
}

#[derive(Debug)]
struct Slot {
    text: Arc<str>,
    uses: u32,
}

impl Texts {
    /// The number of a text, which is kept until it was released as often as it was taken.
    pub(super) fn take(&mut self, text: &str) -> u32 {
        let text = cut(text);
        let text = &*text;
        if let Some(number) = self.numbers.get(text).copied()
            && let Some(slot) = self.slots.get_mut(number as usize)
        {
            slot.uses += 1;
            return number;
        }
        let text: Arc<str> = text.into();
        self.bytes += text.len();
        let slot = Slot { text: Arc::clone(&text), uses: 1 };
        let number = self.free.pop().unwrap_or(self.slots.len() as u32);
        match self.slots.get_mut(number as usize) {
            Some(free) => *free = slot,
            None => self.slots.push(slot),
        }
        self.numbers.insert(text, number);
        number
    }

    pub(super) fn get(&self, number: u32) -> Option<&str> {
        self.slots.get(number as usize).map(|slot| &*slot.text)
    }

    /// Gives back the texts of an entry.
    pub(super) fn release(&mut self, entry: &Entry) {
        for number in [entry.detail, entry.unknown].into_iter().flatten() {
            let Some(slot) = self.slots.get_mut(number as usize) else { continue };
            slot.uses = slot.uses.saturating_sub(1);
            if slot.uses == 0 {
                let text = std::mem::take(&mut slot.text);
                self.bytes -= text.len();
                self.numbers.remove(&text);
                self.free.push(number);
            }
        }
        if self.numbers.is_empty() {
            *self = Self::default();
        }
    }

    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.numbers.len()
    }

    /// Bytes that all of it takes.
    pub(super) fn size(&self) -> usize {
        self.bytes + self.slots.len() * OVERHEAD
    }
}

fn cut(text: &str) -> Cow<'_, str> {
    if text.len() <= LONGEST {
        return text.into();
    }
    let (begin, _) = text.split_at(text.floor_char_boundary(LONGEST));
    format!("{begin}…").into()
}
