//! How fast the HPA may change replicas: the parts of its `behavior` that annotations set.

use std::{fmt, time::Duration};

use crate::{
    key::Key,
    value::{self, ReadKeys, Wanted},
    value_kind::ValueKind,
};

/// Most rates of one direction. Each is looked up by the HPA at every sync.
const MOST_RATES: usize = 10;

/// Longest period of a rate, in seconds (`MaxPeriodSeconds` in Kubernetes' `pkg/apis/autoscaling/validation`).
const LONGEST_PERIOD: u32 = 1800;

/// How fast the HPA may change replicas. `scale-down-after`, which also applies to Gateways, stands apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Behavior {
    /// Stabilisation window: replicas go up only to the lowest number that was wanted within it
    pub scale_up_after: Duration,
    /// The largest changes upwards; the one that allows most counts. Never empty
    pub scale_up: Vec<Rate>,
    /// The largest changes downwards; the one that allows most counts. Never empty
    pub scale_down: Vec<Rate>,
    /// How far a metric may be off its target, if that is given
    pub tolerance: Option<Tolerance>,
}

impl Behavior {
    /// Reads the keys, with the defaults of the HPA. All are written out: a direction with a window but without policies allows
    /// max(100 %, 4 pods) per 15 s whatever the sync period, and the HPA's defaults may change.
    pub(crate) fn read(keys: &mut impl ReadKeys) -> Self {
        Self {
            scale_up_after: keys.read(Key::ScaleUpAfter, value::window).unwrap_or_default(),
            scale_up: keys.read(Key::ScaleUpRate, Rate::parse_all).unwrap_or_else(|| vec![Rate::DOUBLE, Rate::FOUR]),
            scale_down: keys.read(Key::ScaleDownRate, Rate::parse_all).unwrap_or_else(|| vec![Rate::DOUBLE]),
            tolerance: keys.read(Key::Tolerance, Tolerance::parse),
        }
    }

    /// Whether replicas may go up at once: neither a window nor a rate of the user's own holds them back.
    pub fn goes_up_at_once(&self) -> bool {
        self.scale_up_after.is_zero() && self.scale_up == [Rate::DOUBLE, Rate::FOUR]
    }
}

/// The largest change within a period: one policy of the HPA.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// The change
    pub change: Change,
    /// From 1 to 1800
    pub period_seconds: u32,
}

/// A change of the number of replicas, at least 1 and at most 2147483647.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Percent of the replicas at the start of the period
    Percent(u32),
    /// Replicas
    Replicas(u32),
}

impl Rate {
    /// The HPA's defaults: twice as many replicas each 15 s, and upwards four more if that is more.
    const DOUBLE: Self = Self { change: Change::Percent(100), period_seconds: 15 };
    const FOUR: Self = Self { change: Change::Replicas(4), period_seconds: 15 };

    /// Parses rates separated by commas: `50%/1m`, `4/30s,100%/30s`.
    pub(crate) fn parse_all(value: &str) -> Result<Vec<Self>, Wanted> {
        let rates: Option<Vec<_>> = value.split(',').take(MOST_RATES + 1).map(Self::parse).collect();
        match rates {
            Some(rates) if rates.len() > MOST_RATES => Err(format!("at most {MOST_RATES} rates")),
            Some(rates) => Ok(rates),
            None => Err(ValueKind::Rates.wanted().into()),
        }
    }

    fn parse(text: &str) -> Option<Self> {
        let (change, period) = text.split_once('/')?;
        let period = humantime::parse_duration(period.trim()).ok().filter(|period| period.subsec_nanos() == 0)?;
        let period_seconds = u32::try_from(period.as_secs()).ok()?;
        let in_range = (1..=LONGEST_PERIOD).contains(&period_seconds);
        Some(Self { change: Change::parse(change.trim())?, period_seconds }).filter(|_| in_range)
    }
}

impl Change {
    fn parse(text: &str) -> Option<Self> {
        let whole = |text: &str| text.parse::<u32>().ok().filter(|n| *n > 0 && i32::try_from(*n).is_ok());
        match text.strip_suffix('%') {
            Some(percent) => whole(percent.trim_end()).map(Self::Percent),
            None => whole(text).map(Self::Replicas),
        }
    }
}

/// How far a metric may be off its target before the HPA acts, in thousandths of the target: from 0 to 1000.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tolerance(u32);

impl Tolerance {
    /// The default of HPAs without one of their own: 10 %.
    pub const OF_HPA: Self = Self(100);

    /// Parses a percentage with at most one decimal: `10%`, `2.5%`.
    pub(crate) fn parse(value: &str) -> Result<Self, Wanted> {
        let thousandths = |text: &str| {
            let (whole, tenths) = text.trim_end().split_once('.').unwrap_or((text.trim_end(), "0"));
            let digits =
                |text: &str, most| (1..=most).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
            let valid = digits(whole, 3) && digits(tenths, 1);
            Some(whole.parse::<u32>().ok()? * 10 + tenths.parse::<u32>().ok()?).filter(|n| valid && *n <= 1000)
        };
        let parsed = value.strip_suffix('%').and_then(thousandths);
        parsed.map(Self).ok_or_else(|| ValueKind::Tolerance.wanted().into())
    }
}

/// As a quantity of Kubernetes: 10 % is `0.1`.
impl fmt::Display for Tolerance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (f64::from(self.0) / 1000.0).fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_rate_is_percent_or_replicas_in_a_time() {
        let rates = Rate::parse_all("50%/1m, 4 / 30s,200 %/30m").unwrap();
        let of = |change, period_seconds| Rate { change, period_seconds };
        assert_eq!(rates, [of(Change::Percent(50), 60), of(Change::Replicas(4), 30), of(Change::Percent(200), 1800)]);
    }

    #[test]
    fn a_rate_that_the_hpa_would_refuse_is_refused_here() {
        for wrong in [
            "", "50%", "50/", "/30s", "0/30s", "0%/30s", "-1/30s", "1.5/30s", "4/0s", "4/31m", "4/1500ms", "4/30",
            "4/30s,",
        ] {
            assert!(Rate::parse_all(wrong).is_err(), "{wrong}");
        }
        assert_eq!(Rate::parse_all(&["1/1s"; 11].join(",")).unwrap_err(), "at most 10 rates");
    }

    #[test]
    fn a_tolerance_is_a_percentage_and_becomes_a_quantity() {
        for (text, quantity) in [("10%", "0.1"), ("2.5%", "0.025"), ("0%", "0"), ("100%", "1"), ("7 %", "0.07")] {
            assert_eq!(Tolerance::parse(text).map(|tolerance| tolerance.to_string()), Ok(quantity.to_owned()));
        }
        for wrong in ["", "10", "0.1", "-1%", "101%", "100.1%", "1.25%", "NaN%", ".5%", "+1%", "1.%"] {
            assert!(Tolerance::parse(wrong).is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_as_a_rate_is_read_as_one(n in 1u32..=i32::MAX as u32, seconds in 1u32..=1800, percent: bool) {
            let (sign, change) = if percent { ("%", Change::Percent(n)) } else { ("", Change::Replicas(n)) };
            let rates = Rate::parse_all(&format!("{n}{sign}/{seconds}s"));
            prop_assert_eq!(rates, Ok(vec![Rate { change, period_seconds: seconds }]));
        }

        #[test]
        fn no_text_makes_it_panic(text in ".{0,40}") {
            let _ = (Rate::parse_all(&text), Tolerance::parse(&text));
        }
    }
}
