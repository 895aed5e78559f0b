//! Tokens as readers see them.

use std::{collections::HashMap, sync::Arc, time::Duration};

use tidegate_core::llm::TokenNames;
use tokio::time::Instant;

use crate::store::NoReading;

/// Current rates under some names.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct TokenRates {
    /// Uncached input tokens/s
    pub(crate) input: f64,
    /// Output tokens/s
    pub(crate) output: f64,
    /// Requests/s that ended
    pub(crate) requests: f64,
    /// The recent mean of uncached input tokens and of output tokens of a request; `None` while none has ended
    pub(crate) of_request: Option<[f64; 2]>,
    /// Requests/s that ended well without token counts
    pub(crate) untold: f64,
}

/// The tokens that readers see: replaced after each round.
#[derive(Debug, Default)]
pub(crate) struct ShownTokens {
    pub(super) by_request: HashMap<Arc<str>, Vec<(Arc<TokenNames>, TokenRates)>>,
    pub(in crate::store) newest: Option<Instant>,
    pub(in crate::store) failure: Option<String>,
    /// Why the measurement is incomplete
    pub(crate) incomplete: Option<String>,
    /// Models that are not completely known, and why
    pub(super) unknown: Vec<(Arc<TokenNames>, String)>,
}

impl ShownTokens {
    /// Returns the rates of the models with these names in requests to backends; of all models if no names are given.
    pub(crate) fn of<'a>(
        &'a self,
        models: &'a [String],
    ) -> Box<dyn Iterator<Item = (&'a TokenNames, TokenRates)> + 'a> {
        let entry = |(names, rates): &'a (Arc<TokenNames>, TokenRates)| (&**names, *rates);
        if models.is_empty() {
            return Box::new(self.by_request.values().flatten().map(entry));
        }
        Box::new(models.iter().filter_map(|model| self.by_request.get(model.as_str())).flatten().map(entry))
    }

    /// Returns the models that are not completely known, and why: among the models with these names in requests to backends, or among
    /// all models if no names are given.
    pub(crate) fn unknown<'a>(&'a self, models: &'a [String]) -> impl Iterator<Item = (&'a TokenNames, &'a str)> {
        let asked = |names: &TokenNames| models.is_empty() || models.iter().any(|model| **model == *names.request);
        self.unknown.iter().filter(move |(names, _)| asked(names)).map(|(names, why)| (&**names, why.as_str()))
    }

    /// Returns the age of the shown tokens, or why there are none.
    pub(crate) fn age(&self, stale_after: Duration) -> Result<Duration, NoReading> {
        let nobody = || "no AI gateway was asked yet".to_owned();
        let Some(newest) = self.newest else {
            return Err(NoReading::NotYet { waiting_for: self.failure.clone().unwrap_or_else(nobody) });
        };
        let age = Instant::now().saturating_duration_since(newest);
        if age <= stale_after {
            return Ok(age);
        }
        Err(NoReading::Stale { age, reason: self.failure.clone().unwrap_or_else(nobody) })
    }
}
