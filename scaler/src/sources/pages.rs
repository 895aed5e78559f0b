//! Pages of metrics of pods, over plain HTTP.

use std::{net::SocketAddr, time::Duration};

use super::{body_of, with_causes};

/// A pod that is there accepts within this.
const CONNECT_WITHIN: Duration = Duration::from_secs(1);
/// Nobody waits for a page for longer.
const ANSWER_WITHIN: Duration = Duration::from_secs(3);
/// A page of a thousand models with all their buckets has 25 MiB.
const MAX_PAGE: usize = 64 << 20;

/// Asks for pages.
#[derive(Debug, Clone)]
pub(super) struct Pages(Option<reqwest::Client>);

impl Pages {
    pub(super) fn new() -> Self {
        let client = reqwest::Client::builder()
            .connect_timeout(CONNECT_WITHIN)
            .timeout(ANSWER_WITHIN)
            .pool_max_idle_per_host(1)
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .build();
        Self(client.ok())
    }

    /// The page, or why there is none.
    pub(super) async fn get(&self, address: SocketAddr, path: &str) -> Result<String, String> {
        let url = format!("http://{address}/{}", path.trim_start_matches('/'));
        let client = self.0.as_ref().ok_or("no HTTP client could be made")?;
        let answer = client.get(&url).send().await.map_err(|error| with_causes(&error.without_url()))?;
        if !answer.status().is_success() {
            return Err(format!("{url} answered {}", answer.status()));
        }
        let body = body_of(answer, MAX_PAGE).await.map_err(|error| format!("{url} {error}"))?;
        String::from_utf8(body).map_err(|_| format!("{url} answered something else than text"))
    }
}
