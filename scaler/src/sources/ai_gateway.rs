//! AI gateways themselves: `/metrics` of the external processor beside each proxy, once a second.

use std::{collections::HashMap, sync::Arc, time::Duration};

use futures::{StreamExt, stream};
use tidegate_core::{
    model::{AiGateway, TokenNames},
    plan::Plan,
};
use tokio::{
    sync::watch,
    time::{MissedTickBehavior, interval},
};

use super::{pages::Pages, text_format::series};
use crate::signals::{Signals, TokenCounters};

/// The time between two rounds.
const ROUND: Duration = Duration::from_secs(1);
/// Gateways that are asked at one time.
const AT_ONCE: usize = 32;

/// Envoy AI Gateway before 0.5, and since.
const HISTOGRAMS: [&str; 2] = ["gen_ai_client_token_usage_token_", "gen_ai_client_token_usage_"];

/// Asks every AI gateway of the Plan, and these, until `shutdown` says so.
pub(super) async fn run(
    also: Vec<AiGateway>,
    signals: Arc<Signals>,
    plan: watch::Receiver<Option<Arc<Plan>>>,
    mut shutdown: watch::Receiver<bool>,
) {
    let pages = Pages::new();
    let mut ticks = interval(ROUND);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut round = async || {
        ticks.tick().await;
        let Some(plan) = plan.borrow().clone() else { return };
        let mut gateways: Vec<_> = plan.ai_gateways.iter().chain(&also).cloned().collect();
        gateways.sort_unstable();
        gateways.dedup_by_key(|gateway| gateway.metrics);
        let asking =
            stream::iter(gateways.clone()).map(|gateway| ask(&pages, gateway, &signals)).buffer_unordered(AT_ONCE);
        asking.collect::<()>().await;
        let expected: Vec<_> = gateways.iter().map(|gateway| (gateway.name.as_str(), gateway.ready)).collect();
        signals.commit_tokens(Some(&expected));
    };
    tokio::select! {
        () = async { loop { round().await } } => {}
        _ = shutdown.wait_for(|stop| *stop) => {}
    }
}

async fn ask(pages: &Pages, gateway: AiGateway, signals: &Signals) {
    let fleet = gateway.fleet.unwrap_or_default();
    let sample = pages.get(gateway.metrics, "/metrics").await.map(|page| counters(&page, &fleet));
    signals.tokens_sampled(&gateway.name, sample.as_deref().map_err(Clone::clone), false);
}

/// What an exposition says of each model.
fn counters(page: &str, fleet: &Arc<str>) -> Vec<(TokenNames, TokenCounters)> {
    let mut found = HashMap::<TokenNames, TokenCounters>::new();
    for line in series(page, |name| HISTOGRAMS.iter().any(|histogram| name.starts_with(histogram))) {
        let part = HISTOGRAMS.iter().find_map(|histogram| line.name.strip_prefix(histogram));
        let Some(part @ ("sum" | "count")) = part else { continue };
        if !line.value.is_finite() {
            continue;
        }
        let label = |name: &str| Arc::from(line.label(name));
        let names = TokenNames {
            original: label("gen_ai_original_model"),
            request: label("gen_ai_request_model"),
            provider: label("gen_ai_provider_name"),
            backend: label("ai_backend"),
            fleet: Arc::clone(fleet),
        };
        let counters = found.entry(names).or_default();
        // Operations and response models are counted together.
        match (&*line.label("gen_ai_token_type"), part) {
            ("input", "sum") => counters.input += line.value,
            ("input", _) => counters.requests += line.value,
            ("cached_input", "sum") => counters.cached += line.value,
            ("output", "sum") => counters.output += line.value,
            _ => {}
        }
    }
    found.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As Envoy AI Gateway 1.1 writes it.
    const PAGE: &str = r#"# HELP gen_ai_client_token_usage Number of tokens processed.
# TYPE gen_ai_client_token_usage histogram
gen_ai_client_token_usage_bucket{gen_ai_operation_name="chat",gen_ai_original_model="m",gen_ai_provider_name="openai",gen_ai_request_model="m",gen_ai_response_model="m",gen_ai_token_type="input",otel_scope_name="envoyproxy/ai-gateway",otel_scope_schema_url="",otel_scope_version="",le="16"} 1
gen_ai_client_token_usage_sum{gen_ai_operation_name="chat",gen_ai_original_model="m",gen_ai_provider_name="openai",gen_ai_request_model="m",gen_ai_response_model="m",gen_ai_token_type="input",otel_scope_name="envoyproxy/ai-gateway",otel_scope_schema_url="",otel_scope_version=""} 12
gen_ai_client_token_usage_count{gen_ai_operation_name="chat",gen_ai_original_model="m",gen_ai_provider_name="openai",gen_ai_request_model="m",gen_ai_response_model="m",gen_ai_token_type="input",otel_scope_name="envoyproxy/ai-gateway",otel_scope_schema_url="",otel_scope_version=""} 1
gen_ai_client_token_usage_sum{gen_ai_operation_name="chat",gen_ai_original_model="m",gen_ai_provider_name="openai",gen_ai_request_model="m",gen_ai_response_model="m-2",gen_ai_token_type="input"} 8
gen_ai_client_token_usage_sum{gen_ai_operation_name="chat",gen_ai_original_model="m",gen_ai_provider_name="openai",gen_ai_request_model="m",gen_ai_response_model="m",gen_ai_token_type="cached_input"} 4
gen_ai_client_token_usage_sum{gen_ai_operation_name="chat",gen_ai_original_model="m",gen_ai_provider_name="openai",gen_ai_request_model="m",gen_ai_response_model="m",gen_ai_token_type="output"} 7
gen_ai_client_token_usage_sum{gen_ai_operation_name="chat",gen_ai_original_model="m",gen_ai_provider_name="openai",gen_ai_request_model="m",gen_ai_response_model="m",gen_ai_token_type="reasoning"} 3
gen_ai_server_request_duration_seconds_sum{gen_ai_request_model="m"} 9
"#;

    #[test]
    fn both_names_of_the_histogram_are_read_and_reasoning_is_in_the_output_already() {
        let old = PAGE.replace("token_usage_", "token_usage_token_");
        for page in [PAGE, &old] {
            let [(names, counters)] = counters(page, &"".into()).try_into().unwrap();
            assert_eq!((&*names.request, &*names.original, &*names.provider), ("m", "m", "openai"));
            assert_eq!(counters, TokenCounters { input: 20.0, cached: 4.0, output: 7.0, requests: 1.0 });
        }
    }

    #[test]
    fn a_backend_that_is_named_is_told_apart() {
        let page = r#"gen_ai_client_token_usage_sum{gen_ai_request_model="m",gen_ai_token_type="output",ai_backend="llm/a"} 1
gen_ai_client_token_usage_sum{gen_ai_request_model="m",gen_ai_token_type="output",ai_backend="llm/b"} 2
gen_ai_client_token_usage_sum{gen_ai_request_model="m",gen_ai_token_type="output",ai_backend="llm/b"} NaN"#;
        let mut found: Vec<_> = counters(page, &"".into())
            .into_iter()
            .map(|(names, counters)| (names.backend.to_string(), counters.output))
            .collect();
        found.sort_by(|a, b| a.0.cmp(&b.0));
        assert_eq!(found, [("llm/a".to_owned(), 1.0), ("llm/b".to_owned(), 2.0)]);
    }
}
