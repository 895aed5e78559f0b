//! The tokens of all models in one query.

use std::{collections::HashMap, sync::Arc};

use prometheus_http_query::response::Data;
use tidegate_core::{
    fleet::{series_of_class, series_of_gateway},
    llm::TokenNames,
};

/// Rates over 30 s of both names of the histogram, by all the names of a model. `part` is the token type; `requests` for the number
/// of requests with token counts, and `answered` for that of all which succeeded; a row `part="seen"` says that some AI gateway is
/// scraped at all: without it a Prometheus that cannot reach them would look like no traffic.
pub(super) const QUERY: &str = r#"sum by (
  gen_ai_original_model, gen_ai_request_model, gen_ai_provider_name, part,
  gateway_envoyproxy_io_owning_gateway_namespace, gateway_envoyproxy_io_owning_gateway_name,
  gateway_envoyproxy_io_owning_gatewayclass
) (
  label_replace(rate({__name__=~"gen_ai_client_token_usage(_token)?_sum"}[30s]), "part", "$1", "gen_ai_token_type", "(.+)")
  or label_replace(rate({__name__=~"gen_ai_client_token_usage(_token)?_count", gen_ai_token_type="input"}[30s]), "part", "requests", "", "")
  or label_replace(rate(gen_ai_server_request_duration_seconds_count{error_type=""}[30s]), "part", "answered", "", "")
)
or label_replace(
  count({__name__=~"gen_ai_client_token_usage(_token)?_count|gen_ai_server_request_duration_seconds_count"}), "part", "seen", "", ""
)"#;

/// The set of proxies of a row, if a PodMonitor adds the labels of their pods.
fn fleet<'a>(label: impl Fn(&str) -> &'a str) -> Arc<str> {
    let of = |label_of: &str| label(&format!("gateway_envoyproxy_io_owning_{label_of}"));
    match (of("gatewayclass"), of("gateway_namespace"), of("gateway_name")) {
        ("", "", _) | ("", _, "") => Arc::default(),
        ("", namespace, name) => series_of_gateway(namespace, name),
        (class, ..) => series_of_class(class),
    }
}

/// Uncached input tokens/s, output tokens/s, requests/s, and requests/s without token counts, by the names of the model.
pub(super) fn rates(answer: &Data) -> Result<Vec<(TokenNames, [f64; 4])>, String> {
    let Data::Vector(rows) = answer else {
        return Err("answered the query for tokens with something else than a vector".to_owned());
    };
    let (mut found, mut seen) = (HashMap::<TokenNames, [f64; 5]>::new(), false);
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
            fleet: fleet(label),
        };
        let place = match label("part") {
            "input" => 0,
            "output" => 1,
            "requests" => 2,
            "cached_input" => 3,
            "answered" => 4,
            _ => continue,
        };
        found.entry(names).or_default()[place] += row.sample().value();
    }
    if !seen {
        return Err("knows of no AI gateway: it has no sample of gen_ai_client_token_usage or gen_ai_server_request_duration_seconds".to_owned());
    }
    let rates = found.into_iter().map(|(names, [input, output, requests, cached, answered])| {
        // An answer without usage that was no stream is counted with 0 tokens.
        let zeros = if input + output == 0.0 { requests } else { 0.0 };
        (names, [input - cached, output, requests, (answered - requests).max(0.0) + zeros])
    });
    Ok(rates.collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// The rates of one model, from rows with these parts.
    fn of_model(parts: &[(&str, f64)]) -> Result<Option<[f64; 4]>, String> {
        let rows = parts.iter().map(|(part, value)| {
            json!({"metric": {"gen_ai_request_model": "m", "part": part}, "value": [0, value.to_string()]})
        });
        let vector = json!({"resultType": "vector", "result": rows.collect::<Vec<_>>()});
        let found = rates(&serde_json::from_value(vector).unwrap())?;
        Ok(found.into_iter().next().map(|(_, rates)| rates))
    }

    #[test]
    fn answers_without_token_counts_are_told_apart_from_no_traffic() {
        let with = [("seen", 1.0), ("input", 9.0), ("cached_input", 4.0), ("output", 6.0), ("requests", 2.0)];
        assert_eq!(of_model(&[&with[..], &[("answered", 2.0)]].concat()), Ok(Some([5.0, 6.0, 2.0, 0.0])));
        assert_eq!(of_model(&[&with[..], &[("answered", 5.0)]].concat()), Ok(Some([5.0, 6.0, 2.0, 3.0])));
        assert_eq!(of_model(&with), Ok(Some([5.0, 6.0, 2.0, 0.0])), "durations are not scraped");
        assert_eq!(of_model(&[("seen", 1.0), ("answered", 3.0)]), Ok(Some([0.0, 0.0, 0.0, 3.0])), "streams only");
        let zeros = [("seen", 1.0), ("input", 0.0), ("output", 0.0), ("requests", 2.0), ("answered", 2.0)];
        assert_eq!(of_model(&zeros), Ok(Some([0.0, 0.0, 2.0, 2.0])));
        assert_eq!(of_model(&[("seen", 1.0)]), Ok(None));
        assert!(of_model(&[]).is_err(), "no AI gateway is scraped");
    }
}
