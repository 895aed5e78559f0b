//! One signal of one cluster over the last 30 seconds that were measured.

/// Seconds of the long window.
const LONG: usize = 30;
/// Seconds of the short window.
const SHORT: usize = 6;
/// How many times the long window's mean the short one's must be to count as a burst.
const BURST: f32 = 2.0;

/// A ring of one-second values. Only seconds that were measured are in it: a gap is not a zero.
#[derive(Debug, Clone, Default)]
pub(super) struct Window {
    seconds: [f32; LONG],
    len: u8,
    next: u8,
}

impl Window {
    pub(super) fn push(&mut self, value: f32) {
        self.seconds[usize::from(self.next)] = value;
        self.next = (self.next + 1) % LONG as u8;
        self.len = (self.len + 1).min(LONG as u8);
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// The mean over the long window; that over the short one where it is at least twice as much, so that a burst shows at
    /// once and a dip does not. `None` when nothing was measured.
    pub(super) fn value(&self) -> Option<f64> {
        let long = self.mean(LONG)?;
        let short = self.mean(SHORT)?;
        Some(f64::from(if short >= BURST * long { short } else { long }))
    }

    fn mean(&self, seconds: usize) -> Option<f32> {
        let count = seconds.min(usize::from(self.len));
        let newest_first = (1..=count).map(|back| self.seconds[(usize::from(self.next) + LONG - back) % LONG]);
        (count > 0).then(|| newest_first.sum::<f32>() / count as f32)
    }
}
