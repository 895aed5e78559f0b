//! The pods that are scraped, and the last page of each.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc};

use tidegate_core::plan::Plan;

use super::metric_names::{Page, read};
use crate::{sources::last_page::LastPage, store::ServerCounters};

/// A pod at its address.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Pod {
    pub(super) address: SocketAddr,
    name: String,
    pub(super) path: Arc<str>,
}

/// Pods that are ready, or were. A pod that fails its readiness probe under load is the fullest of all, so it has to be scraped.
/// A pod that starts does not answer yet, which is not a failure, so it is left out.
#[derive(Debug, Default)]
pub(super) struct Pods(BTreeMap<Pod, Process>);

/// The last page of the process in a pod.
#[derive(Debug, Default)]
pub(super) struct Process(LastPage);

impl Pods {
    /// Updates the pods to those of this Plan.
    pub(super) fn plan(&mut self, plan: &Plan) {
        let mut before = std::mem::take(&mut self.0);
        for pod in plan.workloads.values().flat_map(|workload| &workload.pods) {
            let Some(address) = pod.metrics else { continue };
            let asked = Pod { address, name: pod.name.clone(), path: Arc::clone(&pod.path) };
            match before.remove(&asked) {
                Some(process) => _ = self.0.insert(asked, process),
                None if pod.ready => _ = self.0.entry(asked).or_default(),
                None => {}
            }
        }
    }

    pub(super) fn pods(&self) -> impl Iterator<Item = &Pod> {
        self.0.keys()
    }

    pub(super) fn process(&mut self, pod: &Pod) -> &mut Process {
        self.0.entry(pod.clone()).or_default()
    }
}

impl Process {
    /// Reads the counters on its page. A page that lacks a series that it had is an error, unless the process has restarted.
    pub(super) fn counters(&mut self, page: &str) -> Result<ServerCounters, String> {
        let Page { counters, series } = read(page)?;
        let has_started = self.0.is_more_than(&series);
        if !has_started && !self.0.is_within(&series) {
            return Err(
                "its page lacks series that it had, though counters cannot vanish while a process runs".to_owned()
            );
        }
        self.0 = LastPage::of(&series);
        Ok(counters)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tidegate_core::llm::ServingPod;

    use super::*;
    use crate::fixture;

    const PAGE: &str = "vllm:prompt_tokens_total{engine=\"0\"} 100\nvllm:prompt_tokens_total{engine=\"1\"} 50\n\
                        vllm:generation_tokens_total{engine=\"0\"} 20\nvllm:num_requests_waiting{engine=\"0\"} 3\n";

    fn names(asked: &Pods) -> Vec<String> {
        asked.pods().map(|pod| pod.name.clone()).collect()
    }

    #[test]
    fn a_pod_that_was_ready_is_asked_until_it_is_gone_and_one_that_starts_is_not() {
        let mut plan = fixture::plan("qwen", &[("queue-per-replica", "5")], Vec::new());
        let mut pods = |ready: &[(&str, bool)]| {
            let pods = ready.iter().map(|(name, ready)| ServingPod {
                name: (*name).to_owned(),
                metrics: Some(([10, 0, 0, 1], 8000).into()),
                path: "/metrics".into(),
                ready: *ready,
                created: None,
            });
            plan.workloads.values_mut().for_each(|workload| workload.pods = pods.clone().collect());
            plan.clone()
        };
        let mut asked = Pods::default();
        asked.plan(&pods(&[("a", false)]));
        assert!(names(&asked).is_empty());
        asked.plan(&pods(&[("a", true)]));
        asked.plan(&pods(&[("a", false)]));
        assert_eq!(names(&asked), ["a"], "it fails its probe");
        asked.plan(&pods(&[("b", false)]));
        assert!(names(&asked).is_empty(), "another pod has its address");
    }

    #[test]
    fn a_page_that_lacks_what_it_had_is_an_error_and_a_new_process_is_none() {
        let mut process = Process::default();
        assert_eq!(process.counters(PAGE).map(|counters| counters.input), Ok(150.0));
        let error = "its page lacks series that it had, though counters cannot vanish while a process runs";
        for line in PAGE.lines() {
            assert_eq!(process.counters(&PAGE.replace(&format!("{line}\n"), "")), Err(error.to_owned()), "{line}");
        }
        assert!(process.counters(&PAGE.replace("vllm:", "renamed:")).is_err());
        let again = process.counters("vllm:prompt_tokens_total{engine=\"0\"} 1\n").unwrap();
        assert_eq!(again.input, 1.0);
    }

    proptest! {
        #[test]
        fn no_bytes_panic(page in any::<Vec<u8>>()) {
            let _ = Process::default().counters(&String::from_utf8_lossy(&page));
        }

        #[test]
        fn a_page_that_is_cut_at_any_byte_is_refused(cut in 0..PAGE.len()) {
            let mut process = Process::default();
            process.counters(PAGE).unwrap();
            prop_assert!(process.counters(&PAGE[..cut]).is_err());
        }
    }
}
