//! KEDA's own triggers beside Tidegate's: `tidegate.dev/cpu`, `tidegate.dev/memory` and `tidegate.dev/keda-triggers`, and a formula over
//! all metrics.
//!
//! They are written to the ScaledObject as they are, and the HPA takes the largest need of all. What KEDA measures itself is not
//! Tidegate's to clamp: [`Intent::sleeps_by_pause`](crate::intent::Intent::sleeps_by_pause) says when hours need KEDA's pause.

mod formula;
mod measurable;
mod resource;
mod scaler_type;
mod trigger;

pub use self::{
    formula::{Formula, name_in_formulas},
    measurable::{Container, Has, Pod, Unmeasurable},
    resource::MetricType,
    scaler_type::ScalerType,
    trigger::{AuthenticationRef, KedaTrigger},
};
use crate::{
    key::Key,
    value::{self, ReadKeys},
};

/// KEDA's triggers of one workload.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Beside {
    /// Those of `cpu` and `memory` first, then those of `keda-triggers` in their order
    pub triggers: Vec<KedaTrigger>,
    /// The formula that takes the place of the largest need
    pub formula: Option<Formula>,
}

impl Beside {
    /// Reads the keys.
    pub(crate) fn read(keys: &mut impl ReadKeys) -> Self {
        let mut triggers: Vec<_> = keys.read(Key::Cpu, KedaTrigger::of_cpu).into_iter().collect();
        triggers.extend(keys.read(Key::Memory, KedaTrigger::of_memory));
        if let Some(container) = keys.read(Key::Container, value::object_name) {
            for trigger in &mut triggers {
                trigger.count_only(&container);
            }
        }
        triggers.extend(keys.read(Key::KedaTriggers, KedaTrigger::parse_all).unwrap_or_default());
        let formula = keys.read(Key::Formula, Formula::parse);
        let target = keys.read(Key::FormulaTarget, value::per_replica);
        let activation = keys.read(Key::FormulaActivation, value::amount).unwrap_or(0);
        let formula = formula.zip(target).map(|(text, target)| Formula { text, target, activation });
        Self { triggers, formula }
    }

    /// Whether there are none. A formula alone has nothing to compute with.
    pub fn is_empty(&self) -> bool {
        self.triggers.is_empty()
    }

    /// Those that the HPA measures itself: `cpu` and `memory`.
    pub fn resources(&self) -> impl Iterator<Item = &KedaTrigger> {
        self.triggers.iter().filter(|trigger| trigger.scaler.is_resource())
    }

    /// Whether one of them can wake a workload from zero, and keep it from it. KEDA skips `cpu` and `memory` when it asks its triggers
    /// whether they are active (`getScalerState` in its `pkg/scaling/scale_handler.go`), and without pods there is nothing to measure.
    pub fn wakes(&self) -> bool {
        self.triggers.iter().any(|trigger| !trigger.scaler.is_resource())
    }
}
