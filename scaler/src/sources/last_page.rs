//! The series of the last page of a process.

use std::{
    collections::{HashMap, HashSet},
    hash::{DefaultHasher, Hash, Hasher},
};

use super::text_format::Line;

/// A series, hashed, and its value; 0 for a gauge, which may go down.
pub(super) type Seen = (u64, f64);

/// The series of the last page. A counter cannot vanish or go down while its process runs: a page that lacks one is cut off or
/// comes from something else, and a page with a lower one comes from a new process.
#[derive(Debug, Default)]
pub(super) struct LastPage(HashMap<u64, f64>);

/// A counter as it is remembered.
pub(super) fn counter(line: &Line<'_>) -> Seen {
    let mut hasher = DefaultHasher::new();
    line.series().hash(&mut hasher);
    (hasher.finish(), line.value)
}

/// A gauge as it is remembered.
pub(super) fn gauge(line: &Line<'_>) -> Seen {
    (counter(line).0, 0.0)
}

impl LastPage {
    pub(super) fn of(page: &[Seen]) -> Self {
        Self(page.iter().copied().collect())
    }

    /// Whether a counter has gone down since.
    pub(super) fn is_more_than(&self, page: &[Seen]) -> bool {
        page.iter().any(|(series, value)| self.0.get(series).is_some_and(|known| value < known))
    }

    /// Whether all series are still there.
    pub(super) fn is_within(&self, page: &[Seen]) -> bool {
        let there: HashSet<u64> = page.iter().map(|(series, _)| *series).collect();
        self.0.keys().all(|series| there.contains(series))
    }
}
