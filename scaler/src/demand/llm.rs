//! Tokens, queues and KV caches as demand.
//!
//! Two sources see the tokens of a model: the gateway in front, which counts them when a stream ends, and the servers themselves.
//! The larger value is used. A full server generates no faster, so only the gateway sees the waiting requests; and only the
//! server sees requests that did not come through the gateway.
//!
//! Tokens that a gateway has not counted yet are in flight. A request adds the recent mean of its model when it begins, and
//! subtracts it when it ends and its own tokens are counted: so the arrival rate, each token once, is recorded tokens/s plus mean
//! tokens × the growth of requests in flight per second. While requests in flight decrease, it is the recorded rate alone. A burst
//! of requests, if too large for chance, applies at once: then the arrival rate is mean tokens × requests/s, with nothing added.

use std::time::Duration;

use chrono::{DateTime, Utc};
use tidegate_core::{
    llm::{ModelShare, TokenNames, part_of},
    plan::{Plan, PlannedWorkload},
    signal::{Family, Signal, Target},
    trigger::{Traffic, Trigger},
    workload::WorkloadId,
};

use super::{Demands, NoDemand, parts, planned, unknown_workload};
use crate::{
    store::{Beginning, NoReading, Reading, Served, TokenRates},
    text::shortened,
};

/// Startup time of an LLM server if none is configured and none was measured: it loads weights for minutes.
const USUAL_STARTUP: Duration = Duration::from_mins(5);
/// Largest part of requests without token counts that is no sign of wrong settings: counters are read one after another.
const UNTOLD: f64 = 0.02;
/// Factor on the measured median startup time: half of the pods take longer than the median of earlier ones.
const LONGER_THAN_MEDIAN: f64 = 1.5;

/// The current state of a model.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ModelNow {
    /// Tokens as gateways count them; `None` if the workload is behind none
    pub(crate) gateway: Option<Result<Routed, NoReading>>,
    /// Values that its pods report; `None` if the pods are not known
    pub(crate) servers: Option<Result<Served, NoReading>>,
    pub(crate) starting: Starting,
}

/// A workload's part of its models' tokens, as gateways count them.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Routed {
    /// Uncached input tokens/s and output tokens/s of requests that ended
    pub(crate) recorded: [f64; 2],
    /// Addition for requests that have begun and not ended
    pub(crate) in_flight: [f64; 2],
    /// Recent means per request: uncached input tokens and output tokens
    pub(crate) of_request: Option<[f64; 2]>,
    pub(crate) age: Duration,
    /// Why this is a lower bound, if it is
    pub(crate) incomplete: Option<String>,
    /// Why the tokens of some answered requests were not counted, if there were such requests
    pub(crate) untold: Option<String>,
}

/// Pods that are ready, and pods that are starting.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Starting {
    pub(crate) ready: u32,
    /// Pods that are not ready and were created less than `within` ago
    pub(crate) coming: u32,
    pub(crate) within: Duration,
}

impl Routed {
    fn value(&self, signal: Signal) -> f64 {
        let index = usize::from(signal == Signal::OutputTokens);
        self.recorded[index] + self.in_flight[index]
    }
}

impl ModelNow {
    fn of_servers(served: &Served, signal: Signal) -> Option<f64> {
        match signal {
            Signal::InputTokens => Some(served.input),
            Signal::OutputTokens => Some(served.output),
            Signal::Queue => served.waiting,
            Signal::KvCache => served.kv_cache,
            // A signal that servers do not report is unknown.
            _ => None,
        }
    }

    /// Returns the lower bound of the signal.
    fn at_least(&self, signal: Signal) -> Option<Reading> {
        let routed = self
            .gateway
            .as_ref()
            .and_then(|gateway| gateway.as_ref().ok())
            .filter(|_| signal.family() == Family::Tokens);
        let routed = routed.map(|routed| Reading { value: routed.value(signal), age: routed.age });
        let served = self.servers.as_ref().and_then(|servers| servers.as_ref().ok());
        let served =
            served.and_then(|served| Some(Reading { value: Self::of_servers(served, signal)?, age: served.age }));
        match (routed, served) {
            (Some(routed), Some(served)) => Some(if served.value > routed.value { served } else { routed }),
            (routed, served) => routed.or(served),
        }
    }

    /// Returns why that lower bound is not exact, if so.
    fn missing(&self, signal: Signal) -> Option<NoReading> {
        let not_yet = |why: &Option<String>| why.clone().map(|waiting_for| NoReading::NotYet { waiting_for });
        let nowhere = || {
            let reason = "no AI gateway counts its tokens and its pods are not known".to_owned();
            Some(NoReading::BadAnswer { reason })
        };
        match (&self.gateway, &self.servers) {
            (Some(Err(why)), _) if signal.family() == Family::Tokens => Some(why.clone()),
            (Some(Ok(Routed { incomplete: None, untold: Some(reason), .. })), servers)
                if signal.family() == Family::Tokens =>
            {
                // Servers count all tokens, as they do where there is no gateway.
                let known =
                    servers.as_ref().is_some_and(|servers| matches!(servers, Ok(Served { incomplete: None, .. })));
                (!known).then(|| NoReading::BadAnswer { reason: reason.clone() })
            }
            (Some(Ok(routed)), _) if signal.family() == Family::Tokens => not_yet(&routed.incomplete),
            (_, Some(Ok(served))) if Self::of_servers(served, signal).is_none() => {
                Some(NoReading::BadAnswer { reason: format!("such model servers do not report {}", signal.unit()) })
            }
            (_, Some(Ok(served))) => not_yet(&served.incomplete),
            (_, Some(Err(why))) => Some(why.clone()),
            (_, None) => nowhere(),
        }
    }
}

impl Demands {
    /// The first signal of tokens that is not known because answers came without their numbers, which the route's owner can change.
    pub(super) fn unreported_tokens(
        &self,
        id: &WorkloadId,
        workload: &PlannedWorkload,
        plan: &Plan,
    ) -> Option<(Signal, String)> {
        let trigger = Trigger::of_workload(id, workload.intent.as_ref().ok()?);
        let signal =
            trigger.targets.iter().map(|target| target.signal).find(|signal| signal.family() == Family::Tokens)?;
        let now = self.model_now(&trigger, plan).ok()?;
        let Routed { incomplete: None, untold: Some(reason), .. } = now.gateway.as_ref()?.as_ref().ok()? else {
            return None;
        };
        now.missing(signal).is_some().then(|| (signal, reason.clone()))
    }

    pub(super) fn model(&self, trigger: &Trigger, target: Target, plan: &Plan) -> Result<Reading, NoDemand> {
        let now = self.model_now(trigger, plan)?;
        match now.missing(target.signal) {
            Some(reason) => Err(NoDemand::NoReading { name: target.signal.to_string(), reason }),
            None => now.at_least(target.signal).ok_or(NoDemand::NoTraffic),
        }
    }

    /// Returns the lower bound of a model's signal while not all of it is known.
    pub(super) fn model_at_least(&self, trigger: &Trigger, signal: Signal, plan: &Plan) -> Option<Reading> {
        self.model_now(trigger, plan).ok()?.at_least(signal)
    }

    /// Holds the wanted replicas while pods that were already requested are starting: until then a growing queue, a full cache and
    /// requests that pile up ask for no more pods, and for no fewer.
    pub(super) fn awaiting(&self, trigger: &Trigger, target: Target, reading: Reading, plan: &Plan) -> Reading {
        let piles_up = target.signal.family() == Family::ModelServers || target.signal == Signal::Concurrency;
        let Some((_, workload)) = planned(trigger, plan).filter(|_| piles_up) else { return reading };
        let starting = self.starting(workload);
        let replicas = |replicas: u32| f64::from(replicas) * target.per_replica.get();
        if starting.coming == 0 || reading.value <= replicas(starting.ready) {
            return reading;
        }
        Reading { value: replicas(workload.replicas.wanted), ..reading }
    }

    /// Returns the current state of the trigger's model.
    pub(crate) fn model_now(&self, trigger: &Trigger, plan: &Plan) -> Result<ModelNow, NoDemand> {
        let named = trigger.model.as_ref().map(|model| vec![ModelShare::Named(model.clone())]);
        let found = planned(trigger, plan).map(|(_, workload)| workload);
        if let (None, Some(Traffic::Workload(id))) = (found, &trigger.traffic) {
            return Err(unknown_workload(id, plan));
        }
        if let Some(model) = &trigger.model {
            self.signals.keep_model(model);
        }
        let shares = named.as_deref().or_else(|| found.map(|workload| workload.models.as_slice())).unwrap_or_default();
        let pods = found.map(|workload| workload.pods.as_slice()).unwrap_or_default();
        Ok(ModelNow {
            gateway: (!shares.is_empty()).then(|| self.routed(shares, found)),
            servers: (!pods.is_empty()).then(|| self.signals.served(pods)),
            starting: found.map(|workload| self.starting(workload)).unwrap_or_default(),
        })
    }

    fn routed(&self, shares: &[ModelShare], workload: Option<&PlannedWorkload>) -> Result<Routed, NoReading> {
        let (tokens, age) = self.signals.tokens()?;
        let mut routed = Routed { age, incomplete: tokens.incomplete.clone(), ..Routed::default() };
        let mut mean = Mean::default();
        let any = shares.iter().any(|share| share.asked_for().is_empty());
        let mut models: Vec<String> = shares.iter().filter(|_| !any).flat_map(ModelShare::asked_for).cloned().collect();
        models.sort_unstable();
        models.dedup();
        let mut unknown = tokens.unknown(&models).filter(|(names, _)| part_of(shares, names) > 0.0);
        routed.incomplete = routed.incomplete.or_else(|| unknown.next().map(|(_, why)| why.to_owned()));
        for (names, rates) in tokens.of(&models) {
            let part = part_of(shares, names);
            routed.untold = routed.untold.or_else(|| untold(names, &rates).filter(|_| part > 0.0));
            routed.recorded[0] += rates.input * part;
            routed.recorded[1] += rates.output * part;
            mean.add(rates.of_request, rates.requests * part, part);
        }
        routed.of_request = mean.of_request();
        if let (Some(of_request), Some(workload)) = (routed.of_request, workload) {
            let beginning = self.beginning(shares, workload);
            routed.in_flight = std::array::from_fn(|i| {
                let grown = of_request[i] * beginning.growth.max(0.0);
                let burst = beginning.burst.map_or(0.0, |rate| of_request[i] * rate - routed.recorded[i]);
                grown.max(burst)
            });
        }
        Ok(routed)
    }

    /// Sums the workload's part of the requests that begin.
    fn beginning(&self, shares: &[ModelShare], workload: &PlannedWorkload) -> Beginning {
        let mut all = Beginning { rate: 0.0, burst: None, growth: 0.0 };
        for share in &workload.traffic {
            let routed = shares.iter().find_map(|model| match model {
                ModelShare::Routed { rule, backend, of_backend } => {
                    let same = rule.route.namespace == share.route.namespace
                        && rule.route.name == share.route.name
                        && rule.route.rule == share.route.rule;
                    same.then(|| rule.nominal(*backend) * of_backend)
                }
                ModelShare::Named(_) => None,
            });
            for (index, (name, part)) in parts(share).enumerate() {
                let Some(of_cluster) = self.signals.beginning(name) else { continue };
                // The rule's cluster comes first; priorities are known only for it.
                let part = routed.filter(|_| index == 0).unwrap_or(part);
                all.growth += of_cluster.growth * part;
                all.burst = match (all.burst, of_cluster.burst) {
                    (None, None) => None,
                    (known, burst) => Some(known.unwrap_or(all.rate) + burst.unwrap_or(of_cluster.rate) * part),
                };
                all.rate += of_cluster.rate * part;
            }
        }
        all
    }

    fn starting(&self, workload: &PlannedWorkload) -> Starting {
        let Some(model) = workload.intent.as_ref().ok().and_then(|intent| intent.model.as_ref()) else {
            return Starting::default();
        };
        let measured = workload.measured_startup.map(|median| median.mul_f64(LONGER_THAN_MEDIAN));
        let within = model.startup_time.or(measured).unwrap_or(USUAL_STARTUP);
        let now = self.now();
        let is_coming = |created: DateTime<Utc>| (now - created).to_std().is_ok_and(|age| age < within);
        let pods = &workload.pods;
        let coming = pods.iter().filter(|pod| !pod.ready && pod.created.is_some_and(is_coming)).count();
        let ready = pods.iter().filter(|pod| pod.ready).count();
        let count = |pods: usize| u32::try_from(pods).unwrap_or(u32::MAX);
        Starting { ready: count(ready), coming: count(coming), within }
    }
}

/// Returns why a model's tokens are not known, if too many answers had no token counts.
fn untold(names: &TokenNames, rates: &TokenRates) -> Option<String> {
    let part = rates.untold / (rates.untold + rates.requests);
    (part > UNTOLD).then(|| {
        let model = shortened(&names.request);
        format!(
            "{:.0} % of the requests for {model} were answered without the numbers of their tokens: wants llmRequestCosts in the \
             AIGatewayRoute, with which the AI gateway asks streams for their usage",
            100.0 * part
        )
    })
}

/// The mean request of several models, weighted by the requests of each; unweighted while none has any.
#[derive(Debug, Default)]
struct Mean {
    weighted: [f64; 2],
    requests: f64,
    plain: [f64; 2],
    models: f64,
}

impl Mean {
    fn add(&mut self, of_request: Option<[f64; 2]>, requests: f64, part: f64) {
        let Some(of_request) = of_request.filter(|_| part > 0.0) else { return };
        (0..2).for_each(|i| {
            self.weighted[i] += of_request[i] * requests;
            self.plain[i] += of_request[i];
        });
        self.requests += requests;
        self.models += 1.0;
    }

    fn of_request(&self) -> Option<[f64; 2]> {
        let by_requests = (self.requests > 0.0).then(|| self.weighted.map(|tokens| tokens / self.requests));
        by_requests.or_else(|| (self.models > 0.0).then(|| self.plain.map(|tokens| tokens / self.models)))
    }
}

#[cfg(test)]
mod tests;
