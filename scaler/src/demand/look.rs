//! One look at a workload: every signal of it, and the number of replicas that they add up to.

use tidegate_core::{
    demand::{Desired, Need, desired},
    intent::{Bounds, Intent},
    plan::Plan,
    schedule::Limits,
    signal::Target,
    trigger::Trigger,
    workload::WorkloadId,
};

use super::{Demand, Demands, NoDemand};

/// What is known of a workload's demand at one instant.
#[derive(Debug, Clone)]
pub struct Look {
    /// Each target, with its value or why there is none
    pub signals: Vec<(Target, Result<Demand, NoDemand>)>,
    /// The bounds at any hour
    pub bounds: Bounds,
    /// The limits of business hours, if there are any
    pub limits: Option<Limits>,
    /// Replicas that the known signals ask for. `None` when no signal is known, and where KEDA computes a formula instead
    pub desired: Option<Desired>,
    /// Whether requests are held for it
    pub holds_requests: bool,
}

impl Demands {
    /// Looks at all signals of a workload.
    pub fn look(&self, id: &WorkloadId, intent: &Intent, plan: &Plan) -> Look {
        let trigger = Trigger::of_workload(id, intent);
        let of = |target: &Target| (*target, self.demand(&trigger, *target, plan));
        let signals: Vec<_> = trigger.targets.iter().map(of).collect();
        let bounds = Bounds { min: intent.lowest(), ..intent.bounds };
        let needs: Vec<Need> = signals.iter().filter_map(|(_, found)| Some(found.as_ref().ok()?.need)).collect();
        // What KEDA makes of them by a formula is not known here.
        let is_known = intent.beside.formula.is_none() && !needs.is_empty();
        Look {
            bounds,
            limits: self.limits(&trigger, plan),
            desired: is_known.then(|| desired(&needs, bounds)),
            holds_requests: self.held(&trigger).awake,
            signals,
        }
    }
}

impl Look {
    /// Whether all signals are known. While one is not, the HPA may scale up but does not scale down.
    pub fn is_complete(&self) -> bool {
        self.signals.iter().all(|(_, found)| found.is_ok())
    }

    /// Why a signal is not known, of the first that is not.
    pub fn unknown(&self) -> Option<&NoDemand> {
        self.signals.iter().find_map(|(_, found)| found.as_ref().err())
    }

    /// The need that decides.
    pub fn decisive(&self) -> Option<&Demand> {
        let signal = self.desired?.decided_by?;
        self.signals.iter().filter_map(|(_, found)| found.as_ref().ok()).find(|demand| demand.need.signal == signal)
    }
}
