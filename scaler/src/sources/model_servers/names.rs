//! How model servers name what they tell.
//!
//! vLLM: `vllm/v1/metrics/loggers.py`; SGLang: `python/sglang/srt/metrics/collector.py`; Text Generation Inference:
//! `docs/source/reference/metrics.md` of each.

use crate::{signals::ServerCounters, sources::text_format::series};

/// What a metric is.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Meaning {
    /// Prompt tokens, cached ones included
    Input,
    /// Prompt tokens that were in the prefix cache
    Cached,
    /// Generated tokens
    Output,
    /// Requests that it works on
    Running,
    /// Requests that wait
    Waiting,
    /// The part of the KV cache that is used
    KvCache,
}

const NAMES: [(&str, Meaning); 18] = [
    ("vllm:prompt_tokens_total", Meaning::Input),
    ("vllm:prefix_cache_hits_total", Meaning::Cached),
    // Before 0.9
    ("vllm:gpu_prefix_cache_hits_total", Meaning::Cached),
    ("vllm:generation_tokens_total", Meaning::Output),
    ("vllm:num_requests_running", Meaning::Running),
    ("vllm:num_requests_waiting", Meaning::Waiting),
    ("vllm:kv_cache_usage_perc", Meaning::KvCache),
    ("vllm:gpu_cache_usage_perc", Meaning::KvCache),
    ("sglang:prompt_tokens_total", Meaning::Input),
    ("sglang:cached_tokens_total", Meaning::Cached),
    ("sglang:generation_tokens_total", Meaning::Output),
    ("sglang:num_running_reqs", Meaning::Running),
    ("sglang:num_queue_reqs", Meaning::Waiting),
    ("sglang:token_usage", Meaning::KvCache),
    // Histograms of requests, counted at their end; TGI tells nothing of its caches, so that its prompts count in whole.
    ("tgi_request_input_length_sum", Meaning::Input),
    ("tgi_request_generated_tokens_sum", Meaning::Output),
    ("tgi_batch_current_size", Meaning::Running),
    ("tgi_queue_size", Meaning::Waiting),
];

/// What an exposition says. Several engines (data parallel ranks) in one server are added up, but for their caches, of which the
/// fullest counts.
pub(super) fn counters(page: &str) -> Result<ServerCounters, String> {
    let mut found = ServerCounters::default();
    let mut known = false;
    for line in series(page, |name| NAMES.iter().any(|(known, _)| *known == name)) {
        let meaning = NAMES.iter().find(|(name, _)| *name == line.name).map(|(_, meaning)| *meaning);
        let (Some(meaning), true) = (meaning, line.value.is_finite() && line.value >= 0.0) else { continue };
        known = true;
        match meaning {
            Meaning::Input => found.input += line.value,
            Meaning::Cached => found.cached += line.value,
            Meaning::Output => found.output += line.value,
            Meaning::Running => found.running = Some(found.running.unwrap_or(0.0) + line.value),
            Meaning::Waiting => found.waiting = Some(found.waiting.unwrap_or(0.0) + line.value),
            Meaning::KvCache => found.kv_cache = Some(found.kv_cache.unwrap_or(0.0).max(line.value.min(1.0))),
        }
    }
    if known { Ok(found) } else { Err("its page has no metrics of vLLM, SGLang or TGI".to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_server_is_read_by_its_own_names() {
        let vllm = "vllm:prompt_tokens_total{engine=\"0\",model_name=\"m\"} 100.0\n\
                    vllm:prompt_tokens_total{engine=\"1\",model_name=\"m\"} 50.0\n\
                    vllm:prefix_cache_hits_total{engine=\"0\",model_name=\"m\"} 30.0\n\
                    vllm:generation_tokens_total{engine=\"0\",model_name=\"m\"} 20\n\
                    vllm:num_requests_running{engine=\"0\",model_name=\"m\"} 9\n\
                    vllm:num_requests_waiting{engine=\"0\",model_name=\"m\"} 3\n\
                    vllm:num_requests_waiting{engine=\"1\",model_name=\"m\"} 2\n\
                    vllm:kv_cache_usage_perc{engine=\"0\",model_name=\"m\"} 0.25\n\
                    vllm:kv_cache_usage_perc{engine=\"1\",model_name=\"m\"} 0.75\n";
        let sglang = "sglang:prompt_tokens_total 150\nsglang:cached_tokens_total 30\nsglang:generation_tokens_total 20\n\
                      sglang:num_running_reqs 9\nsglang:num_queue_reqs 5\nsglang:token_usage 0.75\n";
        let (running, waiting, kv_cache) = (Some(9.0), Some(5.0), Some(0.75));
        let all = ServerCounters { input: 150.0, cached: 30.0, output: 20.0, running, waiting, kv_cache };
        assert_eq!((counters(vllm), counters(sglang)), (Ok(all), Ok(all)));
        let tgi = "tgi_request_input_length_sum 150\ntgi_request_generated_tokens_sum 20\n\
                   tgi_batch_current_size 9\ntgi_queue_size 5\n";
        assert_eq!(counters(tgi), Ok(ServerCounters { cached: 0.0, kv_cache: None, ..all }));
    }

    #[test]
    fn a_page_without_any_of_them_is_an_error_and_not_a_zero() {
        assert_eq!(counters("up 1\n"), Err("its page has no metrics of vLLM, SGLang or TGI".to_owned()));
        assert!(counters("vllm:generation_tokens_total NaN\n").is_err());
    }
}
