//! Explanation of a model: its tokens, by gateways' and servers' counts, and all backends that answer for it.

use std::fmt::{self, Formatter};

use serde::Serialize;
use tidegate_core::{
    ids::RouteRef,
    llm::{AiRule, Destination, ModelShare},
    plan::PlannedWorkload,
    signal::{Family, Signal},
    trigger::Trigger,
};

use super::page::paragraph;
use crate::{
    demand::{ModelNow, Routed},
    store::{Served, SignalStore},
};

/// A model and its tokens.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ExplainedModel {
    /// Its tokens as AI gateways count them
    pub gateways: Option<ExplainedTokens>,
    /// Its load as its own servers report it
    pub servers: Option<ExplainedServers>,
    /// Pods that are ready
    pub ready: u32,
    /// Pods that were asked for and are not ready yet
    pub starting: u32,
    /// Time for which a pod counts as starting, in seconds
    pub startup_seconds: u64,
    /// Whether that time was measured on the last pods, instead of configured
    pub startup_measured: bool,
    /// The rules that lead to it, with all of their backends
    pub rules: Vec<ExplainedRule>,
}

/// Tokens as AI gateways count them.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ExplainedTokens {
    /// Uncached input tokens/s of requests that ended
    pub input: f64,
    /// Output tokens/s of requests that ended
    pub output: f64,
    /// Input tokens/s of requests that began and have not ended
    pub input_in_flight: f64,
    /// Output tokens/s of requests that began and have not ended
    pub output_in_flight: f64,
    /// Mean tokens of a request: uncached input and output
    pub of_request: Option<[f64; 2]>,
    /// Why tokens are missing in these numbers, if requests ended without them
    pub uncounted: Option<String>,
}

/// Load as model servers report it.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ExplainedServers {
    /// Uncached input tokens/s
    pub input: f64,
    /// Output tokens/s
    pub output: f64,
    /// Requests in progress
    pub running: Option<f64>,
    /// Requests that wait
    pub waiting: Option<f64>,
    /// The part of their KV caches that is used, from 0 to 1
    pub kv_cache: Option<f64>,
}

/// A rule of an AIGatewayRoute.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ExplainedRule {
    /// The rule
    pub route: RouteRef,
    /// The models that it takes; empty for any
    pub models: Vec<String>,
    /// The backends that answer
    pub backends: Vec<ExplainedBackend>,
}

/// A backend of a rule of an AIGatewayRoute.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ExplainedBackend {
    /// Namespace and name
    pub name: String,
    /// The model that it is asked for, if it is not the client's
    pub model: Option<String>,
    /// Priority: backends with a higher number are stand-ins
    pub priority: u32,
    /// The destination of its requests
    pub destination: Destination,
    /// Uncached input tokens/s and output tokens/s, when gateways count them
    pub tokens: Option<[f64; 2]>,
}

impl ExplainedModel {
    pub(super) fn new(
        trigger: &Trigger,
        workload: &PlannedWorkload,
        now: &ModelNow,
        signals: &SignalStore,
    ) -> Option<Self> {
        let of_model = |signal: Signal| matches!(signal.family(), Family::Tokens | Family::ModelServers);
        if !trigger.targets.iter().any(|target| of_model(target.signal)) {
            return None;
        }
        let routed = now.gateway.as_ref().and_then(|gateway| gateway.as_ref().ok());
        let served = now.servers.as_ref().and_then(|servers| servers.as_ref().ok());
        let mut rules: Vec<&AiRule> = Vec::new();
        for share in &workload.models {
            if let ModelShare::Routed { rule, .. } = share
                && !rules.iter().any(|known| known.route == rule.route)
            {
                rules.push(rule);
            }
        }
        let said = workload.intent.as_ref().ok().and_then(|intent| intent.model.as_ref()?.startup_time);
        Some(Self {
            gateways: routed.map(ExplainedTokens::new),
            servers: served.map(|served| ExplainedServers::new(served, now.starting.ready)),
            ready: now.starting.ready,
            starting: now.starting.coming,
            startup_seconds: now.starting.within.as_secs(),
            startup_measured: said.is_none() && workload.measured_startup.is_some(),
            rules: rules.into_iter().map(|rule| ExplainedRule::new(rule, signals)).collect(),
        })
    }
}

impl ExplainedTokens {
    fn new(routed: &Routed) -> Self {
        let ([input, output], [input_in_flight, output_in_flight]) = (routed.recorded, routed.in_flight);
        let (of_request, uncounted) = (routed.of_request, routed.untold.clone());
        Self { input, output, input_in_flight, output_in_flight, of_request, uncounted }
    }
}

impl ExplainedServers {
    fn new(served: &Served, ready: u32) -> Self {
        Self {
            input: served.input,
            output: served.output,
            running: served.running,
            waiting: served.waiting,
            kv_cache: served.kv_cache.map(|sum| sum / f64::from(ready.max(1))),
        }
    }
}

impl ExplainedRule {
    fn new(rule: &AiRule, signals: &SignalStore) -> Self {
        let counted = signals.tokens().ok();
        let tokens = |index: usize| {
            let (shown, _) = counted.as_ref()?;
            let add = |[input, output]: [f64; 2], (names, rates): (&_, crate::store::TokenRates)| {
                let part = rule.part(index, names);
                [input + rates.input * part, output + rates.output * part]
            };
            Some(shown.of(rule.asked_for(index)).fold([0.0; 2], add))
        };
        let backends = rule.backends.iter().enumerate().map(|(index, backend)| ExplainedBackend {
            name: backend.name.clone(),
            model: backend.model.clone(),
            priority: backend.priority,
            destination: backend.destination.clone(),
            tokens: tokens(index),
        });
        Self { route: rule.route.clone(), models: rule.models.clone(), backends: backends.collect() }
    }
}

impl ExplainedModel {
    pub(super) fn write(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "\nMODEL")?;
        match &self.gateways {
            Some(tokens) => paragraph(f, "", &tokens.to_string())?,
            None => paragraph(f, "", "No AI gateway counts its tokens.")?,
        }
        if let Some(servers) = &self.servers {
            paragraph(f, "", &format!("Its pods report {servers}."))?;
        }
        if self.starting > 0 {
            let whence = if self.startup_measured { "the last ones took" } else { "they may take" };
            let (pods, take) =
                if self.starting == 1 { ("pod starts", "it counts") } else { ("pods start", "they count") };
            let text = format!(
                "{} {pods}, and {take} as capacity to come for {} s, by what {whence}.",
                self.starting, self.startup_seconds
            );
            paragraph(f, "", &text)?;
        }
        for rule in &self.rules {
            let models = if rule.models.is_empty() { "any model".to_owned() } else { rule.models.join(", ") };
            writeln!(f, "{} ({models})", rule.route)?;
            for backend in &rule.backends {
                paragraph(f, "  ", &backend.to_string())?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for ExplainedTokens {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { input, output, input_in_flight, output_in_flight, of_request, uncounted } = self;
        write!(
            f,
            "AI gateways count {input:.0} uncached input and {output:.0} output tokens/s of requests that ended."
        )?;
        if *input_in_flight + *output_in_flight >= 0.5 {
            write!(f, " Requests that began and have not ended add {input_in_flight:.0} and {output_in_flight:.0}.")?;
        }
        if let Some([input, output]) = of_request {
            write!(f, " A request has {input:.0} and {output:.0} tokens on average.")?;
        }
        if let Some(uncounted) = uncounted {
            write!(f, " Not all are counted: {uncounted}.")?;
        }
        Ok(())
    }
}

impl fmt::Display for ExplainedServers {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{:.0} uncached input and {:.0} output tokens/s", self.input, self.output)?;
        if let Some(running) = self.running {
            write!(f, ", {running:.0} requests running")?;
        }
        if let Some(waiting) = self.waiting {
            write!(f, ", {waiting:.1} requests waiting")?;
        }
        if let Some(kv_cache) = self.kv_cache {
            write!(f, ", KV caches {:.0} % full", kv_cache * 100.0)?;
        }
        Ok(())
    }
}

impl fmt::Display for ExplainedBackend {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "-> {}", self.name)?;
        match &self.destination {
            Destination::Service(service) => write!(f, " (Service {}/{})", service.namespace, service.name)?,
            Destination::Pool(pool) => write!(f, " (InferencePool {}/{})", pool.namespace, pool.name)?,
            Destination::External(host) => write!(f, " (outside: {host})")?,
            Destination::Nobody => write!(f, " (leads nowhere)")?,
        }
        if let Some(model) = &self.model {
            write!(f, " as {model}")?;
        }
        if self.priority > 0 {
            write!(f, ", stands in with priority {}", self.priority)?;
        }
        match self.tokens {
            Some([input, output]) => write!(f, ": {input:.0} uncached input and {output:.0} output tokens/s"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_that_gateways_do_not_count_are_named_with_their_reason() {
        let mut tokens = ExplainedTokens {
            input: 1.0,
            output: 2.0,
            input_in_flight: 0.0,
            output_in_flight: 0.0,
            of_request: None,
            uncounted: None,
        };
        let counted = "AI gateways count 1 uncached input and 2 output tokens/s of requests that ended.";
        assert_eq!(tokens.to_string(), counted);
        tokens.uncounted = Some("streams end without usage".to_owned());
        assert_eq!(tokens.to_string(), format!("{counted} Not all are counted: streams end without usage."));
    }
}
