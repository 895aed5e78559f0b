//! The metric names of model servers.
//!
//! vLLM: `vllm/v1/metrics/loggers.py`; SGLang: `python/sglang/srt/metrics/collector.py`; Text Generation Inference:
//! `docs/source/reference/metrics.md`; llama.cpp: `tools/server/README.md` of each.

use crate::{
    sources::{
        last_page::{self, Seen},
        text_format::{Line, series},
    },
    store::ServerCounters,
};

/// The meaning of a metric.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Meaning {
    /// Prompt tokens, cached ones included
    Input,
    /// Prompt tokens without cached ones
    Uncached,
    /// Prompt tokens that were in the prefix cache
    Cached,
    /// Generated tokens
    Output,
    /// Requests that are being processed
    Running,
    /// Requests that wait
    Waiting,
    /// The part of the KV cache that is in use
    KvCache,
}

/// The metric names for each meaning. A page may have several for the same, as that of vLLM 0.10 does during a rename: only the
/// first of them is read.
const NAMES: [(Meaning, &[&str]); 7] = [
    // TGI's are histograms of requests, counted at their end. TGI does not report its caches, so its prompts are counted in full.
    (Meaning::Input, &["vllm:prompt_tokens_total", "sglang:prompt_tokens_total", "tgi_request_input_length_sum"]),
    (Meaning::Uncached, &["llamacpp:prompt_tokens_total"]),
    // The second is vLLM's before 0.9.
    (
        Meaning::Cached,
        &["vllm:prefix_cache_hits_total", "vllm:gpu_prefix_cache_hits_total", "sglang:cached_tokens_total"],
    ),
    (
        Meaning::Output,
        &[
            "vllm:generation_tokens_total",
            "sglang:generation_tokens_total",
            "tgi_request_generated_tokens_sum",
            "llamacpp:tokens_predicted_total",
        ],
    ),
    (
        Meaning::Running,
        &[
            "vllm:num_requests_running",
            "sglang:num_running_reqs",
            "tgi_batch_current_size",
            "llamacpp:requests_processing",
        ],
    ),
    (
        Meaning::Waiting,
        &["vllm:num_requests_waiting", "sglang:num_queue_reqs", "tgi_queue_size", "llamacpp:requests_deferred"],
    ),
    (Meaning::KvCache, &["vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc", "sglang:token_usage"]),
];

/// The counters of a page, and the series that they were read from.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Page {
    pub(super) counters: ServerCounters,
    pub(super) series: Vec<Seen>,
}

/// Reads a page. Several engines (data parallel ranks) in one server are added up, except for their KV caches: the fullest
/// applies. An error says why this is not a page of a model server, or which value is impossible.
pub(super) fn read(page: &str) -> Result<Page, String> {
    let lines = series(page, |name| NAMES.iter().any(|(_, names)| names.contains(&name)))?;
    let mut found = Page::default();
    for (meaning, names) in NAMES {
        let Some(name) = names.iter().find(|name| lines.iter().any(|line| line.name == **name)) else { continue };
        for line in lines.iter().filter(|line| line.name == *name) {
            found.add(meaning, line)?;
        }
    }
    if found.series.is_empty() {
        return Err("its page has no metrics of vLLM, SGLang, TGI or llama.cpp".to_owned());
    }
    Ok(found)
}

impl Page {
    fn add(&mut self, meaning: Meaning, line: &Line<'_>) -> Result<(), String> {
        let (value, counters) = (line.amount()?, &mut self.counters);
        let counts = matches!(meaning, Meaning::Input | Meaning::Uncached | Meaning::Cached | Meaning::Output);
        self.series.push(if counts { last_page::counter(line) } else { last_page::gauge(line) });
        match meaning {
            Meaning::Input | Meaning::Uncached => counters.input += value,
            Meaning::Cached => counters.cached += value,
            Meaning::Output => counters.output += value,
            Meaning::Running => counters.running = Some(counters.running.unwrap_or(0.0) + value),
            Meaning::Waiting => counters.waiting = Some(counters.waiting.unwrap_or(0.0) + value),
            Meaning::KvCache => counters.kv_cache = Some(counters.kv_cache.unwrap_or(0.0).max(value.min(1.0))),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counters(page: &str) -> Result<ServerCounters, String> {
        read(page).map(|page| page.counters)
    }

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

    /// As vLLM 0.10 writes it.
    const VLLM_0_10: &str = r#"vllm:prompt_tokens_total{engine="0",model_name="m"} 100000
vllm:prefix_cache_hits_total{engine="0",model_name="m"} 40000
vllm:gpu_prefix_cache_hits_total{engine="0",model_name="m"} 40000
vllm:generation_tokens_total{engine="0",model_name="m"} 20000
vllm:num_requests_running{engine="0",model_name="m"} 4
vllm:num_requests_waiting{engine="0",model_name="m"} 2
vllm:kv_cache_usage_perc{engine="0",model_name="m"} 0.3
vllm:gpu_cache_usage_perc{engine="0",model_name="m"} 0.6
"#;

    #[test]
    fn tokens_that_are_reported_under_two_names_are_counted_once() {
        let (running, waiting, kv_cache) = (Some(4.0), Some(2.0), Some(0.3));
        let all = ServerCounters { input: 100_000.0, cached: 40_000.0, output: 20_000.0, running, waiting, kv_cache };
        assert_eq!(counters(VLLM_0_10), Ok(all));
        let old = VLLM_0_10.replace("vllm:prefix_", "vllm:unknown_").replace("vllm:kv_", "vllm:unknown_");
        assert_eq!(counters(&old), Ok(ServerCounters { kv_cache: Some(0.6), ..all }));
    }

    /// A real page of llama.cpp's server with four slots, while nine streams want one; two answers of 50 tokens have ended before.
    const LLAMA_CPP: &str = include_str!("testdata/llama.cpp.txt");

    #[test]
    fn llama_cpp_counts_prompts_without_cached_tokens_and_has_no_figure_of_its_kv_cache() {
        let (running, waiting) = (Some(4.0), Some(5.0));
        let all = ServerCounters { input: 62.0, cached: 0.0, output: 100.0, running, waiting, kv_cache: None };
        assert!(LLAMA_CPP.contains("\nllamacpp:prompt_tokens_cached_total 28\n"));
        assert_eq!(counters(LLAMA_CPP), Ok(all));
    }

    #[test]
    fn a_page_without_any_of_them_is_an_error_and_not_a_zero() {
        let error = "its page has no metrics of vLLM, SGLang, TGI or llama.cpp";
        assert_eq!(counters("up 1\n"), Err(error.to_owned()));
        for page in ["", "<html></html>\n", "vllm:generation_tokens_total 5"] {
            assert!(counters(page).is_err(), "{page}");
        }
    }

    #[test]
    fn what_no_server_can_say_is_an_error_that_names_the_line() {
        for value in ["NaN", "-3", "+Inf"] {
            let page = VLLM_0_10.replace("\"} 20000", &format!("\"}} {value}"));
            let error = counters(&page).unwrap_err();
            assert!(error.contains("vllm:generation_tokens_total{engine=\"0\""), "{error}");
        }
    }
}
