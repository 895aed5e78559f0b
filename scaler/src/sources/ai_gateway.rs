//! AI gateways themselves: `/metrics` of the external processor beside each proxy, once a second.

mod exposition;
mod process;

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use futures::{StreamExt, stream};
use tidegate_core::{llm::AiGateway, plan::Plan};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use self::process::Process;
use super::{
    http_pages::Pages,
    rounds::{ROUND, rounds},
};
use crate::store::SignalStore;

/// Most gateways that are scraped at one time.
const AT_ONCE: usize = 32;

/// Scrapes every AI gateway of the Plan, and these, until `stop` is cancelled.
pub(super) async fn run(
    also: Vec<AiGateway>,
    signals: Arc<SignalStore>,
    plan: watch::Receiver<Option<Arc<Plan>>>,
    stop: CancellationToken,
) {
    let pages = Pages::new();
    let mut processes = HashMap::new();
    let mut rounds = rounds(ROUND);
    let asking = async {
        loop {
            rounds.tick().await;
            let Some(plan) = plan.borrow().clone() else { continue };
            let mut gateways: Vec<_> = plan.ai_gateways.iter().chain(&also).cloned().collect();
            gateways.sort_unstable();
            gateways.dedup_by_key(|gateway| gateway.metrics);
            ask(&pages, &gateways, &mut processes, &signals).await;
            let expected: Vec<_> = gateways.iter().map(|gateway| (gateway.name.as_str(), gateway.ready)).collect();
            signals.commit_tokens(Some(&expected));
        }
    };
    stop.run_until_cancelled(asking).await;
}

/// Scrapes all of them, and processes each answer as it comes.
async fn ask(pages: &Pages, gateways: &[AiGateway], processes: &mut HashMap<String, Process>, signals: &SignalStore) {
    let there: HashSet<&str> = gateways.iter().map(|gateway| gateway.name.as_str()).collect();
    processes.retain(|name, _| there.contains(name.as_str()));
    let asking = stream::iter(gateways.to_vec()).map(|gateway| page(pages, gateway));
    let mut answers = std::pin::pin!(asking.buffer_unordered(AT_ONCE));
    while let Some((gateway, page)) = answers.next().await {
        let process = processes.entry(gateway.name.clone()).or_default();
        let sample = page.and_then(|page| process.counted(&page, &gateway.fleet.unwrap_or_default()));
        signals.tokens_sampled(&gateway.name, sample.as_deref().map_err(Clone::clone), false);
    }
}

async fn page(pages: &Pages, gateway: AiGateway) -> (AiGateway, Result<String, String>) {
    let page = pages.get(gateway.metrics, "/metrics").await;
    (gateway, page)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    use super::*;

    /// Answers each request with the next of these pages, with status 200.
    async fn serve(listener: TcpListener, pages: Vec<&str>) {
        for page in pages {
            let (mut connection, _) = listener.accept().await.unwrap();
            let _ = connection.read(&mut [0; 1024]).await.unwrap();
            let head = format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", page.len());
            connection.write_all((head + page).as_bytes()).await.unwrap();
        }
    }

    #[tokio::test]
    async fn a_page_of_something_else_with_status_200_is_an_error_of_its_gateway() {
        let new = "target_info{service_name=\"unknown_service:ai-gateway-extproc\"} 1\n";
        let bad = ["<html>\n", "", "envoy_server_live 1\n", "target_info 1", "no healthy upstream\n"];
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let metrics = listener.local_addr().unwrap();
        let answers = bad.into_iter().flat_map(|bad| [bad, new]).collect();
        let served = tokio::spawn(serve(listener, answers));
        let gateway = AiGateway { name: "eg/proxy".into(), metrics, ready: true, fleet: None };
        let (signals, pages, mut processes) =
            (SignalStore::new(Duration::from_secs(300)), Pages::new(), HashMap::new());
        for bad in bad {
            for is_bad in [true, false] {
                ask(&pages, std::slice::from_ref(&gateway), &mut processes, &signals).await;
                assert_eq!(signals.sources()[0].error.is_some(), is_bad, "{bad}");
            }
        }
        served.await.unwrap();
    }
}
