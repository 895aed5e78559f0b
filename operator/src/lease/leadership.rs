//! Leadership with an age: it expires by itself, even if nothing reports its end in time.

use tokio::{sync::watch, time::Instant};

use super::GIVE_UP;

/// Whether this replica may write. Checked right before each write, as the process may have been stopped in between.
#[derive(Debug, Clone)]
pub struct Leadership(watch::Receiver<Option<Instant>>);

/// The sending end, which the renewals keep up to date.
#[derive(Debug)]
pub struct Term(watch::Sender<Option<Instant>>);

/// A term that has not begun, and its leadership.
pub fn term() -> (Term, Leadership) {
    let (sender, receiver) = watch::channel(None);
    (Term(sender), Leadership(receiver))
}

impl Leadership {
    /// Whether the last successful renewal is young enough that nobody else can have taken over.
    pub fn may_write(&self) -> bool {
        is_young(*self.0.borrow())
    }

    /// Waits until leadership begins or is known to have ended; `false` when nobody competes any more.
    pub async fn changed(&mut self) -> bool {
        self.0.changed().await.is_ok()
    }
}

impl Term {
    /// Records that the Lease was held at `asked`, the time at which the renewal was begun. Returns whether leadership begins with it.
    pub(super) fn renew(&self, asked: Instant) -> bool {
        self.0.send_if_modified(|renewed| {
            let led = is_young(*renewed);
            *renewed = Some(asked);
            !led && is_young(*renewed)
        })
    }

    /// Records that the Lease is not held. Returns whether it was until now.
    pub(super) fn end(&self) -> bool {
        self.0.send_if_modified(|renewed| renewed.take().is_some())
    }

    /// Records a failed renewal; the last successful one stands until it is too old. Returns whether leadership ends with this.
    pub(super) fn end_if_over(&self) -> bool {
        self.0.send_if_modified(|renewed| !is_young(*renewed) && renewed.take().is_some())
    }

    /// Leadership as if just renewed.
    #[cfg(test)]
    pub(crate) fn begin(&self) {
        self.renew(Instant::now());
    }
}

fn is_young(renewed: Option<Instant>) -> bool {
    renewed.is_some_and(|renewed| renewed.elapsed() < GIVE_UP)
}
