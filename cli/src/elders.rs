//! What other pods of Tidegate remember: a pod that has just started asks them, so that a restart costs no history.
//!
//! They are found by a host name that resolves to the addresses of all, like that of a headless Service. The admin server of any of
//! them gives its history as records, each after its length in four bytes.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::{Context, Result, bail};
use axum::{
    body::{Body, Bytes},
    http::Request,
};
use futures::{StreamExt, stream};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use tidegate_scaler::history::History;
use tokio::{
    net::lookup_host,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

/// The path of all records.
pub(crate) const PATH: &str = "/history";

/// Most bytes of one record.
const LARGEST_RECORD: usize = 1 << 20;
/// Most bytes of all records: twice what a history takes.
const LARGEST: usize = 64 << 20;
/// Timeout for all records of one pod.
const WITHIN: Duration = Duration::from_secs(30);
/// How often they are asked, and the time between: a pod of the same rollout may be as young as this one, or not known to DNS yet.
const TIMES: u32 = 5;
const AGAIN: Duration = Duration::from_secs(10);

/// Asks the pods behind `host` until one of them remembers something, a few times.
pub(crate) async fn recall(history: Arc<History>, host: String, stop: CancellationToken) {
    for _ in 0..TIMES {
        let recalled = stop.run_until_cancelled(ask_all(&history, &host)).await;
        match recalled {
            None => return,
            Some(Ok(0)) => {}
            Some(Ok(workloads)) => {
                tracing::info!(workloads, "took over the history of another pod");
                return;
            }
            Some(Err(error)) => tracing::debug!(%error, "no other pod gave its history"),
        }
        if stop.run_until_cancelled(sleep(AGAIN)).await.is_none() {
            return;
        }
    }
    tracing::info!(host, "no other pod remembers anything: the history begins now");
}

async fn ask_all(history: &History, host: &str) -> Result<usize> {
    let mut outcome = Ok(0);
    for peer in lookup_host(host).await.with_context(|| host.to_owned())? {
        match timeout(WITHIN, ask(history, peer)).await.context("no answer in time").flatten() {
            Ok(0) => {}
            Ok(workloads) => return Ok(workloads),
            Err(error) => outcome = Err(error.context(peer.to_string())),
        }
    }
    outcome
}

/// Takes in what a pod remembers. Returns of how many workloads.
async fn ask(history: &History, peer: SocketAddr) -> Result<usize> {
    let client: Client<HttpConnector, Body> = Client::builder(TokioExecutor::new()).build_http();
    let answer = client.request(Request::get(format!("http://{peer}{PATH}")).body(Body::empty())?).await?;
    if !answer.status().is_success() {
        bail!("answered {}", answer.status());
    }
    let mut body = Body::new(answer.into_body()).into_data_stream();
    let (mut waiting, mut read, mut workloads) = (Vec::new(), 0, 0);
    while let Some(bytes) = body.next().await {
        let bytes = bytes?;
        read += bytes.len();
        if read > LARGEST {
            bail!("gave more than {LARGEST} bytes");
        }
        waiting.extend(bytes);
        let mut rest = &*waiting;
        while let Some((record, after)) = first(rest)? {
            workloads += usize::from(history.restore(record));
            rest = after;
        }
        let done = waiting.len() - rest.len();
        waiting.drain(..done);
    }
    Ok(workloads)
}

/// The first record and what is after it, if it has arrived as a whole.
fn first(bytes: &[u8]) -> Result<Option<(&[u8], &[u8])>> {
    let Some((length, rest)) = bytes.split_first_chunk() else { return Ok(None) };
    let length = u32::from_be_bytes(*length) as usize;
    if length > LARGEST_RECORD {
        bail!("gave a record of {length} bytes");
    }
    Ok(rest.split_at_checked(length))
}

/// All records, each made when the reader is ready for it, so that none waits in memory.
pub(crate) fn records(history: Arc<History>) -> Body {
    let records = stream::iter(history.workloads()).filter_map(move |id| {
        let record = history.record(&id);
        async move {
            let record = record?;
            let length = u32::try_from(record.len()).ok()?.to_be_bytes();
            Some(Ok::<_, std::convert::Infallible>(Bytes::from([&length[..], &record].concat())))
        }
    });
    Body::from_stream(records)
}
