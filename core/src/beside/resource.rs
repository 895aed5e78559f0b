//! Targets of CPU and memory: a share of the request, or an amount per replica.

use serde::Serialize;

use super::ScalerType;
use crate::{quantity, value::Wanted, value_kind::ValueKind};

/// Highest share of a request, in percent.
const HIGHEST_PERCENT: u32 = 1000;
/// Least and most cores of a replica.
const CORES: (f64, f64) = (0.001, 1000.0);
/// As many whole cores or more, without a unit, are almost always a percentage whose sign was forgotten.
const PROBABLY_PERCENT: f64 = 10.0;
/// Least and most bytes of a replica. `512m` is half a byte, and was meant to be `512Mi`.
const BYTES: (f64, f64) = (1_048_576.0, 1e15);

/// How the target of a metric is compared with its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum MetricType {
    /// With the value per replica
    AverageValue,
    /// With the value itself
    Value,
    /// With the value as a share of the request: CPU and memory only
    Utilization,
}

impl MetricType {
    /// Finds the type as Kubernetes writes it.
    pub(super) fn find(name: &str) -> Option<Self> {
        match name {
            "AverageValue" => Some(Self::AverageValue),
            "Value" => Some(Self::Value),
            "Utilization" => Some(Self::Utilization),
            _ => None,
        }
    }
}

/// Parses the value of `tidegate.dev/cpu` or `tidegate.dev/memory`: `70%`, `500m`, `512Mi`. Returns the metric type and the `value` of
/// KEDA's trigger.
pub(super) fn target(scaler: ScalerType, value: &str) -> Result<(MetricType, String), Wanted> {
    match value.strip_suffix('%') {
        Some(percent) => share(percent.trim_end()).map(|value| (MetricType::Utilization, value)),
        None => amount(scaler, value).map(|()| (MetricType::AverageValue, value.to_owned())),
    }
    .map_err(|problem| problem.unwrap_or_else(|| kind(scaler).wanted().into()))
}

/// Checks the `value` of a `cpu` or `memory` trigger. KEDA 2.21 panics on an amount that is no quantity (`resource.MustParse` in
/// `pkg/scalers/cpu_memory_scaler.go`).
pub(super) fn check(scaler: ScalerType, metric_type: MetricType, value: &str) -> Result<(), Wanted> {
    let wanted = |other| move |problem: Option<Wanted>| problem.unwrap_or_else(|| format!("as its value {other}"));
    match metric_type {
        MetricType::Utilization => {
            share(value).map(drop).map_err(wanted("a whole percentage without its sign, such as \"70\""))
        }
        MetricType::AverageValue if scaler == ScalerType::CPU => {
            amount(scaler, value).map_err(wanted("cores such as \"500m\""))
        }
        MetricType::AverageValue => amount(scaler, value).map_err(wanted("an amount such as \"512Mi\"")),
        MetricType::Value => Err("the metricType Utilization or AverageValue".to_owned()),
    }
}

fn kind(scaler: ScalerType) -> ValueKind {
    if scaler == ScalerType::CPU { ValueKind::Cpu } else { ValueKind::Memory }
}

/// A whole percentage, without its sign.
fn share(value: &str) -> Result<String, Option<Wanted>> {
    let digits = value.bytes().all(|b| b.is_ascii_digit());
    let percent = value.parse::<u32>().ok().filter(|_| digits);
    match percent {
        Some(percent) if (1..=HIGHEST_PERCENT).contains(&percent) => Ok(percent.to_string()),
        Some(_) => Err(Some(format!("from 1% to {HIGHEST_PERCENT}%"))),
        None => Err(None),
    }
}

fn amount(scaler: ScalerType, value: &str) -> Result<(), Option<Wanted>> {
    let amount = quantity::parse(value).ok_or(None)?;
    let (least, most) = if scaler == ScalerType::CPU { CORES } else { BYTES };
    let no_unit = value.bytes().all(|b| b.is_ascii_digit());
    if scaler == ScalerType::CPU && no_unit && amount >= PROBABLY_PERCENT {
        return Err(Some(format!("\"{value}%\" for a share of the request, or \"{value}000m\" for {value} cores")));
    }
    if (least..=most).contains(&amount) {
        Ok(())
    } else if scaler == ScalerType::CPU {
        Err(Some("from 1m to 1000 cores per replica".to_owned()))
    } else {
        Err(Some("at least 1Mi per replica; a unit such as Mi or Gi is part of the amount".to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_share_is_utilization_and_an_amount_is_an_average() {
        for (scaler, written, metric_type, value) in [
            (ScalerType::CPU, "70%", MetricType::Utilization, "70"),
            (ScalerType::CPU, "070 %", MetricType::Utilization, "70"),
            (ScalerType::CPU, "500m", MetricType::AverageValue, "500m"),
            (ScalerType::CPU, "1.5", MetricType::AverageValue, "1.5"),
            (ScalerType::MEMORY, "80%", MetricType::Utilization, "80"),
            (ScalerType::MEMORY, "512Mi", MetricType::AverageValue, "512Mi"),
        ] {
            assert_eq!(target(scaler, written), Ok((metric_type, value.to_owned())), "{written}");
        }
    }

    #[test]
    fn what_was_probably_meant_is_said() {
        let cpu = |value| target(ScalerType::CPU, value).unwrap_err();
        assert_eq!(cpu("70"), "\"70%\" for a share of the request, or \"70000m\" for 70 cores");
        assert_eq!(cpu("0%"), "from 1% to 1000%");
        for wrong in ["", "70 percent", "-5%", "+5%", "7.5%", "-1", "x"] {
            assert!(cpu(wrong).starts_with("a share of the request such as \"70%\""), "{wrong}");
        }
        assert_eq!(cpu("0"), "from 1m to 1000 cores per replica");
        let memory = target(ScalerType::MEMORY, "512m").unwrap_err();
        assert!(memory.starts_with("at least 1Mi per replica"), "{memory}");
    }

    #[test]
    fn an_amount_on_which_keda_would_panic_is_refused() {
        for value in ["70%", "", "half", "1 Gi", "1.2.3"] {
            assert!(check(ScalerType::CPU, MetricType::AverageValue, value).is_err(), "{value}");
        }
        assert_eq!(check(ScalerType::CPU, MetricType::Utilization, "70"), Ok(()));
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in ".{0,24}") {
            let _ = (target(ScalerType::CPU, &text), target(ScalerType::MEMORY, &text));
        }

        #[test]
        fn every_target_is_one_that_a_trigger_may_have(text in "[0-9]{1,6}(|[.][0-9]{1,3})(|m|k|Mi|Gi|e3|%)") {
            for scaler in [ScalerType::CPU, ScalerType::MEMORY] {
                if let Ok((metric_type, value)) = target(scaler, &text) {
                    prop_assert_eq!(check(scaler, metric_type, &value), Ok(()), "{}", text);
                }
            }
        }
    }
}
