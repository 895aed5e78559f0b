//! One page of an AI gateway: tokens and requests by the names of models.

use std::{collections::HashMap, sync::Arc};

use tidegate_core::llm::TokenNames;

use crate::{
    sources::{
        last_page::{self, Seen},
        text_format::{Line, series},
    },
    store::TokenCounters,
};

/// Prefixes of the histogram of tokens, in Envoy AI Gateway before 0.5, and since.
const TOKENS: [&str; 2] = ["gen_ai_client_token_usage_token_", "gen_ai_client_token_usage_"];
/// Requests that ended, whether or not their answers had token counts.
const ENDED: &str = "gen_ai_server_request_duration_seconds_count";
/// The only metric that OpenTelemetry's exporter writes before the first request.
const TARGET: &str = "target_info";
const OURS: &str = "gen_ai_";
/// More tokens than any request has: the last bound of the histogram is 67,108,864.
const MOST_OF_REQUEST: f64 = 1e8;

/// The content of a page.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) models: HashMap<TokenNames, Model>,
    /// Whether it has only [`TARGET`], like that of a process that has had no request yet
    pub(super) is_new: bool,
}

/// The counters of one model, and the series that they were read from.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Model {
    pub(super) counters: TokenCounters,
    pub(super) series: Vec<Seen>,
}

/// The meaning of a number on the page.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    Input,
    Cached,
    Output,
    /// Requests with token counts
    Requests,
    /// Requests that succeeded
    Answered,
    /// Tokens that other kinds contain already, and the number of requests that had them
    Other,
}

/// Reads a page. An error says why this is not a page of an AI gateway, or which count is impossible for one.
pub(super) fn read(page: &str, fleet: &Arc<str>) -> Result<Page, String> {
    let lines = series(page, |name| name == TARGET || name.starts_with(OURS))?;
    if lines.is_empty() {
        return Err(format!("its page has neither {TARGET} nor metrics of models ({OURS}…)"));
    }
    let is_new = lines.iter().all(|line| line.name == TARGET);
    let mut found = HashMap::<TokenNames, Model>::new();
    for line in lines {
        if let Some(kind) = Kind::of(&line) {
            found.entry(names(&line, fleet)).or_default().add(kind, &line)?;
        }
    }
    match found.iter().find(|(_, model)| !model.is_possible()) {
        Some((names, Model { counters, .. })) => {
            let (tokens, requests) = (counters.input.max(counters.output), counters.requests);
            Err(format!(
                "its page has {tokens} tokens of {requests} requests for {}: no model has so many",
                names.request
            ))
        }
        None => Ok(Page { models: found, is_new }),
    }
}

fn names(line: &Line<'_>, fleet: &Arc<str>) -> TokenNames {
    let label = |name: &str| Arc::from(line.label(name));
    TokenNames {
        original: label("gen_ai_original_model"),
        request: label("gen_ai_request_model"),
        provider: label("gen_ai_provider_name"),
        fleet: Arc::clone(fleet),
    }
}

impl Kind {
    fn of(line: &Line<'_>) -> Option<Self> {
        if line.name == ENDED {
            // A request that failed has no tokens.
            return line.label("error_type").is_empty().then_some(Self::Answered);
        }
        let part = TOKENS.iter().find_map(|histogram| line.name.strip_prefix(histogram))?;
        match (&*line.label("gen_ai_token_type"), part) {
            ("input", "sum") => Some(Self::Input),
            ("input", "count") => Some(Self::Requests),
            ("cached_input", "sum") => Some(Self::Cached),
            ("output", "sum") => Some(Self::Output),
            (_, "sum" | "count") => Some(Self::Other),
            _ => None,
        }
    }
}

impl Model {
    /// Adds a line. Operations and response models are added up.
    fn add(&mut self, kind: Kind, line: &Line<'_>) -> Result<(), String> {
        let value = line.amount()?;
        self.series.push(last_page::counter(line));
        match kind {
            Kind::Input => self.counters.input += value,
            Kind::Cached => self.counters.cached += value,
            Kind::Output => self.counters.output += value,
            Kind::Requests => self.counters.requests += value,
            Kind::Answered => self.counters.answered += value,
            Kind::Other => {}
        }
        Ok(())
    }

    fn is_possible(&self) -> bool {
        let TokenCounters { input, output, requests, .. } = self.counters;
        requests == 0.0 || input.max(output) <= requests * MOST_OF_REQUEST
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// In the form of Envoy AI Gateway, shortened.
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

    fn models(page: &str) -> Result<Vec<(TokenNames, TokenCounters)>, String> {
        let found = read(page, &"".into())?.models;
        let mut found: Vec<_> = found.into_iter().map(|(names, model)| (names, model.counters)).collect();
        found.sort_by(|(a, _), (b, _)| a.request.cmp(&b.request));
        Ok(found)
    }

    #[test]
    fn both_names_of_the_histogram_are_read_and_reasoning_is_in_the_output_already() {
        let old = PAGE.replace("token_usage_", "token_usage_token_");
        for page in [PAGE, &old] {
            let [(names, counters)] = models(page).unwrap().try_into().unwrap();
            assert_eq!((&*names.request, &*names.original, &*names.provider), ("m", "m", "openai"));
            assert_eq!(counters, TokenCounters { input: 20.0, cached: 4.0, output: 7.0, requests: 1.0, answered: 0.0 });
        }
    }

    /// A real page of Envoy AI Gateway 1.0.0, without the buckets; no `llmRequestCosts` are configured.
    const REAL: &str = include_str!("testdata/extproc-1.0.0.txt");

    #[test]
    fn a_real_page_separates_requests_with_tokens_from_those_without_and_leaves_out_those_that_failed() {
        let found = models(REAL).unwrap();
        let of = |model: &str| {
            let found = found.iter().find(|(names, _)| &*names.request == model);
            found.map(|(_, found)| (found.input, found.cached, found.output, found.requests, found.answered))
        };
        assert_eq!(of("m"), Some((24.0, 0.0, 10.0, 2.0, 4.0)), "two streams had no usage");
        assert_eq!(of("m-cached"), Some((12.0, 8.0, 5.0, 1.0, 2.0)));
        assert_eq!(of("silent"), Some((0.0, 0.0, 0.0, 1.0, 2.0)));
        assert_eq!(of("fail"), None);
    }

    /// A whole real page, of answers that reported 1.5 million input and 2,097,152 output tokens; `llmRequestCosts` are configured. The
    /// client of `slow-cut` left in the middle of its stream.
    const LARGE: &str = include_str!("testdata/extproc-1.0.0-large.txt");

    #[test]
    fn numbers_with_exponents_are_read_in_full_and_a_stream_that_was_cut_counts_nowhere() {
        assert!(LARGE.contains("le=\"6.7108864e+07\"}") && LARGE.contains("} 4.194304e+06\n"));
        let found = models(LARGE).unwrap();
        let counters =
            |n: f64| TokenCounters { input: n * 1.5e6, cached: 0.0, output: n * 2_097_152.0, requests: n, answered: n };
        let found: Vec<_> = found.iter().map(|(names, found)| (&*names.request, *found)).collect();
        assert_eq!(found, [("asked", counters(1.0)), ("large", counters(2.0))]);
        let cut = "time_to_first_token_seconds_count{gen_ai_operation_name=\"chat\",gen_ai_original_model=\"slow-cut\"";
        assert!(LARGE.contains(cut));
    }

    /// A real page without the buckets: every model is asked for as `real-model`, by `modelNameOverride`.
    const OVERRIDE: &str = include_str!("testdata/extproc-1.0.0-override.txt");

    #[test]
    fn a_model_that_is_asked_for_by_another_name_is_counted_under_both_names() {
        let found = read(OVERRIDE, &"".into()).unwrap().models;
        let of = |original: &str| {
            let all = found.iter().filter(|(names, _)| &*names.request == "real-model" && &*names.original == original);
            all.map(|(_, model)| (model.counters.output, model.counters.requests, model.counters.answered)).collect()
        };
        let all: Vec<Vec<_>> = ["alias", "asked", "real-model"].into_iter().map(of).collect();
        assert_eq!(all, [vec![(10.0, 2.0, 2.0)], vec![(5.0, 1.0, 1.0)], vec![]]);
    }

    #[test]
    fn a_page_of_before_the_first_request_has_no_models_and_is_no_error() {
        let page = "# HELP target_info Target metadata\n# TYPE target_info gauge\n\
                    target_info{service_name=\"unknown_service:ai-gateway-extproc\",telemetry_sdk_language=\"go\"} 1\n";
        assert_eq!(models(page), Ok(Vec::new()));
    }

    #[test]
    fn a_page_of_something_else_is_an_error_and_not_a_zero() {
        let error = "its page has neither target_info nor metrics of models (gen_ai_…)";
        for page in ["# TYPE gen_ai_client_token_usage histogram\n", "envoy_server_live 1\n", "up 1\ngo_info 1\n"] {
            assert_eq!(models(page), Err(error.to_owned()), "{page}");
        }
        for page in ["", "<html></html>\n", "no healthy upstream\n", "{}\n"] {
            assert!(models(page).is_err(), "{page}");
        }
    }

    #[test]
    fn what_no_gateway_can_have_counted_is_an_error() {
        for value in ["NaN", "-1", "+Inf"] {
            let error = models(&PAGE.replace("\"} 7", &format!("\"}} {value}"))).unwrap_err();
            assert!(error.contains("of at least 0: gen_ai_client_token_usage_sum"), "{error}");
        }
        let error = models(&PAGE.replace("\"} 12", "\"} 1e12")).unwrap_err();
        assert_eq!(error, "its page has 1000000000008 tokens of 1 requests for m: no model has so many");
    }
}
