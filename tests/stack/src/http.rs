//! Plain HTTP GETs, for readiness and for statistics.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use tokio::time::timeout;

/// Status and body of `GET url`, within `deadline`.
pub async fn get(url: &str, deadline: Duration) -> Result<(u16, String)> {
    let exchange = async {
        let client = Client::builder(TokioExecutor::new()).build_http::<Empty<Bytes>>();
        let response = client.get(url.parse()?).await?;
        let status = response.status().as_u16();
        let body = response.into_body().collect().await?.to_bytes();
        anyhow::Ok((status, String::from_utf8_lossy(&body).into_owned()))
    };
    match timeout(deadline, exchange).await {
        Ok(result) => result.with_context(|| format!("GET {url}")),
        Err(_) => bail!("GET {url}: no answer within {deadline:?}"),
    }
}
