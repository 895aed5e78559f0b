//! The metrics that the external processor of Envoy AI Gateway serves on port 1064, of requests that are posted to `/observe`.
//!
//! Names, labels and buckets are those of Envoy AI Gateway 1.1 (`internal/metrics/genai.go`, through OpenTelemetry's
//! Prometheus exporter). Like the real one, it counts a request once, when its stream has ended.

use std::{
    collections::BTreeMap,
    fmt::Write,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use axum::{
    Json, Router,
    extract::State,
    routing::{get, post},
};
use serde::Deserialize;

/// Bounds of the token histogram: powers of four.
const TOKEN_BOUNDS: [f64; 14] = [
    1.0,
    4.0,
    16.0,
    64.0,
    256.0,
    1024.0,
    4096.0,
    16384.0,
    65536.0,
    262_144.0,
    1_048_576.0,
    4_194_304.0,
    16_777_216.0,
    67_108_864.0,
];
/// Bounds of the duration of requests, in seconds.
const DURATION_BOUNDS: [f64; 14] =
    [0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92];

const TOKENS: &str = "gen_ai_client_token_usage";
const TOKENS_BEFORE: &str = "gen_ai_client_token_usage_token";
/// The last metric of each page, and the only one before the first request.
const TARGET: &str = "# HELP target_info Target metadata\n# TYPE target_info gauge\n\
                      target_info{service_name=\"unknown_service:ai-gateway-extproc\",telemetry_sdk_language=\"go\"} 1\n";
const DURATION: &str = "gen_ai_server_request_duration_seconds";

/// A request whose answer has ended.
#[derive(Debug, Deserialize)]
struct Observed {
    /// The model that the client asked for
    original: String,
    /// The model that was requested from the backend [the same]
    request: Option<String>,
    /// `namespace/name` of the AIServiceBackend, which newer versions report
    backend: Option<String>,
    input: u64,
    #[serde(default)]
    cached: u64,
    output: u64,
    #[serde(default)]
    reasoning: u64,
    #[serde(default)]
    seconds: f64,
}

#[derive(Debug, Default)]
struct Histogram {
    buckets: Vec<u64>,
    count: u64,
    sum: f64,
}

impl Histogram {
    fn observe(&mut self, bounds: &[f64], value: f64) {
        self.buckets.resize(bounds.len(), 0);
        for (bucket, bound) in self.buckets.iter_mut().zip(bounds) {
            *bucket += u64::from(value <= *bound);
        }
        self.count += 1;
        self.sum += value;
    }

    fn write(&self, page: &mut String, name: &str, labels: &str, bounds: &[f64]) {
        for (bucket, bound) in self.buckets.iter().zip(bounds) {
            let _ = writeln!(page, "{name}_bucket{{{labels},le=\"{bound}\"}} {bucket}");
        }
        let _ = writeln!(page, "{name}_bucket{{{labels},le=\"+Inf\"}} {}", self.count);
        let _ = writeln!(page, "{name}_sum{{{labels}}} {}\n{name}_count{{{labels}}} {}", self.sum, self.count);
    }
}

/// Histograms by their labels, as written on the page.
#[derive(Debug, Default)]
struct Seen {
    tokens: BTreeMap<String, Histogram>,
    durations: BTreeMap<String, Histogram>,
}

impl Seen {
    fn observe(&mut self, observed: &Observed) {
        let kinds = [
            ("input", observed.input),
            ("cached_input", observed.cached),
            ("output", observed.output),
            ("reasoning", observed.reasoning),
        ];
        for (kind, tokens) in kinds {
            // Input and output are always reported; the others only when the provider reports them.
            if tokens > 0 || matches!(kind, "input" | "output") {
                let histogram = self.tokens.entry(labels(observed, Some(kind))).or_default();
                histogram.observe(&TOKEN_BOUNDS, tokens as f64);
            }
        }
        self.durations.entry(labels(observed, None)).or_default().observe(&DURATION_BOUNDS, observed.seconds);
    }

    fn page(&self, tokens: &str) -> String {
        let mut page = format!("# HELP {tokens} Number of tokens processed.\n# TYPE {tokens} histogram\n");
        for (labels, histogram) in &self.tokens {
            histogram.write(&mut page, tokens, labels, &TOKEN_BOUNDS);
        }
        let _ = write!(
            page,
            "# HELP {DURATION} Generative AI server request duration such as time-to-last byte or last output token.\n\
             # TYPE {DURATION} histogram\n"
        );
        for (labels, histogram) in &self.durations {
            histogram.write(&mut page, DURATION, labels, &DURATION_BOUNDS);
        }
        page.push_str(TARGET);
        page
    }
}

/// Labels in the order in which the exporter writes them: by name.
fn labels(observed: &Observed, kind: Option<&str>) -> String {
    let request = observed.request.as_ref().unwrap_or(&observed.original);
    let mut labels = String::new();
    if let Some(backend) = &observed.backend {
        let _ = write!(labels, "ai_backend=\"{backend}\",");
    }
    let _ = write!(
        labels,
        "gen_ai_operation_name=\"chat\",gen_ai_original_model=\"{}\",gen_ai_provider_name=\"openai\",\
         gen_ai_request_model=\"{request}\",gen_ai_response_model=\"{request}\",",
        observed.original
    );
    if let Some(kind) = kind {
        let _ = write!(labels, "gen_ai_token_type=\"{kind}\",");
    }
    labels + "otel_scope_name=\"envoyproxy/ai-gateway\",otel_scope_schema_url=\"\",otel_scope_version=\"\""
}

type Shared = Arc<Mutex<Seen>>;

pub(crate) fn router(old_name: bool) -> Router {
    let tokens = if old_name { TOKENS_BEFORE } else { TOKENS };
    Router::new()
        .route("/metrics", get(async move |seen: State<Shared>| inside(&seen).page(tokens)))
        .route("/observe", post(observe))
        // The same as a restart of the side-car.
        .route("/reset", post(async |seen: State<Shared>| *inside(&seen) = Seen::default()))
        .with_state(Shared::default())
}

async fn observe(seen: State<Shared>, Json(all): Json<Vec<Observed>>) {
    let mut seen = inside(&seen);
    for one in &all {
        seen.observe(one);
    }
}

fn inside(seen: &Shared) -> MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn observed() -> Observed {
        serde_json::from_str(r#"{"original": "m", "input": 12, "output": 5, "seconds": 0.5}"#).unwrap()
    }

    #[test]
    fn a_request_is_shown_as_envoy_ai_gateway_shows_it() {
        let mut seen = Seen::default();
        seen.observe(&observed());
        let page = seen.page(TOKENS);
        let sum = "gen_ai_client_token_usage_sum{gen_ai_operation_name=\"chat\",gen_ai_original_model=\"m\",\
            gen_ai_provider_name=\"openai\",gen_ai_request_model=\"m\",gen_ai_response_model=\"m\",gen_ai_token_type=\"input\",\
            otel_scope_name=\"envoyproxy/ai-gateway\",otel_scope_schema_url=\"\",otel_scope_version=\"\"} 12\n";
        assert!(page.contains(sum), "{page}");
        for bucket in ["le=\"4\"} 0", "le=\"16\"} 1", "le=\"67108864\"} 1", "le=\"+Inf\"} 1"] {
            assert!(page.contains(bucket), "{bucket}: {page}");
        }
    }

    #[test]
    fn the_name_of_older_versions_is_written_when_asked_for() {
        let mut seen = Seen::default();
        seen.observe(&observed());
        assert!(seen.page(TOKENS_BEFORE).contains("gen_ai_client_token_usage_token_sum{"));
    }
}
