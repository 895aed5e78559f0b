//! The tokens of all models in one query.

use std::{collections::HashMap, sync::Arc};

use prometheus_http_query::response::Data;
use tidegate_core::{
    fleet::{series_of_class, series_of_gateway},
    llm::TokenNames,
};

/// Rates over 30 s of both names of the histogram, by all the names of a model. `part` is the token type, and `requests` for the
/// number of requests; a row `part="seen"` says that some AI gateway is scraped at all: without it a Prometheus that cannot reach
/// them would look like no traffic.
pub(super) const QUERY: &str = r#"sum by (
  gen_ai_original_model, gen_ai_request_model, gen_ai_provider_name, ai_backend, part,
  gateway_envoyproxy_io_owning_gateway_namespace, gateway_envoyproxy_io_owning_gateway_name,
  gateway_envoyproxy_io_owning_gatewayclass
) (
  label_replace(rate({__name__=~"gen_ai_client_token_usage(_token)?_sum"}[30s]), "part", "$1", "gen_ai_token_type", "(.+)")
  or label_replace(rate({__name__=~"gen_ai_client_token_usage(_token)?_count", gen_ai_token_type="input"}[30s]), "part", "requests", "", "")
)
or label_replace(count({__name__=~"gen_ai_client_token_usage(_token)?_count"}), "part", "seen", "", "")"#;

/// The set of proxies of a row, if a PodMonitor adds the labels of their pods.
fn fleet<'a>(label: impl Fn(&str) -> &'a str) -> Arc<str> {
    let of = |label_of: &str| label(&format!("gateway_envoyproxy_io_owning_{label_of}"));
    match (of("gatewayclass"), of("gateway_namespace"), of("gateway_name")) {
        ("", "", _) | ("", _, "") => Arc::default(),
        ("", namespace, name) => series_of_gateway(namespace, name),
        (class, ..) => series_of_class(class),
    }
}

/// Uncached input tokens/s, output tokens/s and requests/s by the names of the model.
pub(super) fn rates(answer: &Data) -> Result<Vec<(TokenNames, [f64; 3])>, String> {
    let Data::Vector(rows) = answer else {
        return Err("answered the query for tokens with something else than a vector".to_owned());
    };
    let (mut found, mut seen) = (HashMap::<TokenNames, [f64; 4]>::new(), false);
    for row in rows {
        let label = |name: &str| row.metric().get(name).map_or("", String::as_str);
        if label("part") == "seen" {
            seen = true;
            continue;
        }
        let names = TokenNames {
            original: Arc::from(label("gen_ai_original_model")),
            request: Arc::from(label("gen_ai_request_model")),
            provider: Arc::from(label("gen_ai_provider_name")),
            backend: Arc::from(label("ai_backend")),
            fleet: fleet(label),
        };
        let place = match label("part") {
            "input" => 0,
            "output" => 1,
            "requests" => 2,
            "cached_input" => 3,
            _ => continue,
        };
        found.entry(names).or_default()[place] += row.sample().value();
    }
    if !seen {
        return Err("knows of no AI gateway: it has no sample of gen_ai_client_token_usage".to_owned());
    }
    let rates =
        found.into_iter().map(|(names, [input, output, requests, cached])| (names, [input - cached, output, requests]));
    Ok(rates.collect())
}
