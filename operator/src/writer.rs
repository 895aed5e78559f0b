//! The one way to write to the cluster: while this replica leads, and no longer.

use std::{future::poll_fn, pin::pin, task::Poll, time::Duration};

use kube::Client;
use tokio::time::timeout;

use crate::{api::explained, lease::Leadership};

/// How long a write may take.
const DEADLINE: Duration = Duration::from_secs(10);

/// A client, and the leadership without which it writes nothing.
#[derive(Clone)]
pub struct Writer {
    client: Client,
    leadership: Leadership,
}

/// A write that did not happen, or whose outcome is not known.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unwritten {
    /// Nothing went wrong: it is another replica's to do
    #[error("this replica does not lead")]
    NotLeading,
    #[error("no answer within {DEADLINE:?}")]
    NoAnswer,
    #[error("{}", explained(.0))]
    Refused(kube::Error),
}

impl Writer {
    /// A writer that asks this leadership before each write.
    pub fn new(client: Client, leadership: Leadership) -> Self {
        Self { client, leadership }
    }

    /// Whether this replica leads at this moment.
    pub fn may_write(&self) -> bool {
        self.leadership.may_write()
    }

    /// The leadership, to wait for a change of it.
    pub(crate) fn leadership(&self) -> Leadership {
        self.leadership.clone()
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// Carries out a write within its deadline. Leadership is asked for before every step of it: one that reads first, and is
    /// frozen then, does not go on to write.
    pub(crate) async fn write<T>(&self, write: impl Future<Output = Result<T, kube::Error>>) -> Result<T, Unwritten> {
        let mut write = pin!(write);
        let fenced = poll_fn(|context| {
            if self.may_write() {
                write.as_mut().poll(context).map_err(Unwritten::Refused)
            } else {
                Poll::Ready(Err(Unwritten::NotLeading))
            }
        });
        timeout(DEADLINE, fenced).await.unwrap_or(Err(Unwritten::NoAnswer))
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::{advance, sleep};

    use super::*;
    use crate::{api_server::ApiServer, lease::term};

    #[tokio::test(start_paused = true)]
    async fn a_write_that_reads_first_and_is_frozen_then_does_not_go_on() {
        let (term, leadership) = term();
        let writer = Writer::new(ApiServer::default().client(), leadership);
        term.begin();
        advance(Duration::from_secs(5)).await;
        let mut wrote = false;
        let outcome = writer
            .write(async {
                sleep(Duration::from_secs(6)).await;
                wrote = true;
                Ok(())
            })
            .await;
        assert!(matches!(outcome, Err(Unwritten::NotLeading)));
        assert!(!wrote);
    }
}
