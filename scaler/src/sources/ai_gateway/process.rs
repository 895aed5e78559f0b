//! The last page of the process of an AI gateway.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use tidegate_core::llm::TokenNames;

use super::exposition::{Model, Page, read};
use crate::{sources::last_page::LastPage, store::TokenCounters};

/// The series of each model on its last complete page.
#[derive(Debug, Default)]
pub(super) struct Process(HashMap<TokenNames, LastPage>);

impl Process {
    /// Reads the counters of each model. Models that lack a series that they had are left out: they are unknown.
    pub(super) fn counted(&mut self, page: &str, fleet: &Arc<str>) -> Result<Vec<(TokenNames, TokenCounters)>, String> {
        let Page { models: mut found, is_new } = read(page, fleet)?;
        if is_new || self.has_counted_more(&found) {
            self.0.clear();
        }
        let lacking = self.lacking(&found);
        let all = found.keys().all(|names| lacking.contains(names));
        if all && !lacking.is_empty() {
            return Err(format!("its page lacks series of all {} models that it had", lacking.len()));
        }
        found.retain(|names, _| !lacking.contains(names));
        let remembered = found.iter().map(|(names, model)| (names.clone(), LastPage::of(&model.series)));
        self.0.extend(remembered);
        Ok(found.into_iter().map(|(names, model)| (names, model.counters)).collect())
    }

    /// Whether the page comes from a process that has restarted.
    fn has_counted_more(&self, found: &HashMap<TokenNames, Model>) -> bool {
        found.iter().any(|(names, model)| self.0.get(names).is_some_and(|known| known.is_more_than(&model.series)))
    }

    fn lacking(&self, found: &HashMap<TokenNames, Model>) -> HashSet<TokenNames> {
        let is_whole =
            |names: &TokenNames, known: &LastPage| found.get(names).is_some_and(|model| known.is_within(&model.series));
        self.0.iter().filter(|(names, known)| !is_whole(names, known)).map(|(names, _)| names.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const REAL: &str = include_str!("testdata/extproc-1.0.0.txt");
    const NEW: &str = "target_info 1\n";

    fn page(models: &[(&str, u32)]) -> String {
        let lines = models.iter().map(|(model, n)| {
            let series = |part: &str| format!("gen_ai_client_token_usage_{part}{{gen_ai_request_model=\"{model}\"");
            let (sum, count) = (series("sum"), series("count"));
            format!(
                "{sum},gen_ai_token_type=\"input\"}} {n}\n{count},gen_ai_token_type=\"input\"}} {n}\n\
                 {sum},gen_ai_token_type=\"output\"}} {n}\n"
            )
        });
        lines.collect::<String>() + NEW
    }

    fn counted(process: &mut Process, page: &str) -> Result<Vec<(String, f64)>, String> {
        let found = process.counted(page, &"".into())?;
        let mut found: Vec<_> =
            found.into_iter().map(|(names, counters)| (names.request.to_string(), counters.input)).collect();
        found.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(found)
    }

    #[test]
    fn a_model_that_a_page_lacks_or_has_in_part_is_left_out_and_others_count() {
        let mut process = Process::default();
        assert_eq!(counted(&mut process, NEW), Ok(Vec::new()));
        let both = page(&[("m", 5), ("n", 7)]);
        assert_eq!(counted(&mut process, &both), Ok(vec![("m".into(), 5.0), ("n".into(), 7.0)]));
        assert_eq!(counted(&mut process, &page(&[("m", 6)])), Ok(vec![("m".into(), 6.0)]));
        let n_in_part = both.replace("gen_ai_client_token_usage_count{gen_ai_request_model=\"n\"", "x{a=\"\"");
        assert_eq!(counted(&mut process, &n_in_part.replace("} 5", "} 6")), Ok(vec![("m".into(), 6.0)]));
        let whole = page(&[("m", 6), ("n", 8)]);
        assert_eq!(counted(&mut process, &whole), Ok(vec![("m".into(), 6.0), ("n".into(), 8.0)]));
    }

    #[test]
    fn a_page_that_lacks_all_models_but_not_all_series_is_an_error() {
        let mut process = Process::default();
        counted(&mut process, &page(&[("m", 5)])).unwrap();
        let cut = page(&[("m", 5)]).lines().take(2).map(|line| format!("{line}\n")).collect::<String>();
        let error = counted(&mut process, &cut).unwrap_err();
        assert_eq!(error, "its page lacks series of all 1 models that it had");
        let buckets = "gen_ai_client_token_usage_bucket{le=\"1\"} 1\n";
        assert!(counted(&mut process, buckets).is_err(), "cut before the first sum");
    }

    #[test]
    fn a_process_that_was_started_again_begins_with_nothing() {
        let mut process = Process::default();
        counted(&mut process, &page(&[("m", 5), ("n", 7)])).unwrap();
        assert_eq!(counted(&mut process, &page(&[("n", 2)])), Ok(vec![("n".into(), 2.0)]));
        assert_eq!(counted(&mut process, NEW), Ok(Vec::new()));
        assert_eq!(counted(&mut process, &page(&[("m", 1)])), Ok(vec![("m".into(), 1.0)]));
    }

    proptest! {
        #[test]
        fn no_bytes_panic(page in any::<Vec<u8>>()) {
            let _ = Process::default().counted(&String::from_utf8_lossy(&page), &"".into());
        }

        #[test]
        fn a_real_page_that_is_cut_at_any_byte_is_refused_or_says_less_of_no_model(cut in 0..REAL.len()) {
            let mut process = Process::default();
            let whole: HashMap<_, _> = process.counted(REAL, &"".into()).unwrap().into_iter().collect();
            if let Ok(found) = process.counted(&REAL[..cut], &"".into()) {
                for (names, counters) in found {
                    prop_assert_eq!(Some(&counters), whole.get(&names));
                }
            }
        }
    }
}
