//! The metrics of vLLM (`vllm/v1/metrics/loggers.py`), as far as anything scales on them.

use std::fmt::Write;

use crate::engine::Engine;

pub(crate) fn page(engine: &Engine, model: &str) -> String {
    let counters = engine.counters();
    let metrics = [
        ("vllm:num_requests_running", "gauge", engine.running() as f64),
        ("vllm:num_requests_waiting", "gauge", engine.waiting() as f64),
        ("vllm:kv_cache_usage_perc", "gauge", engine.kv_cache_usage()),
        ("vllm:prefix_cache_hits_total", "counter", counters.cached as f64),
        ("vllm:prompt_tokens_total", "counter", counters.input as f64),
        ("vllm:generation_tokens_total", "counter", counters.output as f64),
        ("vllm:request_success_total", "counter", counters.requests as f64),
    ];
    let mut page = String::new();
    for (name, kind, value) in metrics {
        let family = name.trim_end_matches("_total");
        let labels = format!("{{engine=\"0\",model_name=\"{model}\"}}");
        let _ = writeln!(page, "# TYPE {family} {kind}\n{name}{labels} {value:?}");
    }
    page
}
