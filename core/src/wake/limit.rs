//! `tidegate.dev/wake-limit`: the most wakes in a time.

use std::{fmt, str::FromStr, time::Duration};

/// Most wakes that a limit allows: more is no limit.
const MOST: u32 = 10_000;
/// Longest time that a limit covers. The activator forgets its wakes when it restarts, so that a longer one would promise too much.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

const SECOND: Duration = Duration::from_secs(1);
/// Units that stand for one of them when there is no number: `10/h`.
const UNITS: [(&str, Duration); 4] = [
    ("s", SECOND),
    ("m", Duration::from_secs(60)),
    ("h", Duration::from_secs(3600)),
    ("d", Duration::from_secs(24 * 3600)),
];

/// The most wakes of a workload in a time, written `10/h`, `3/10m` or `1/30s`.
///
/// ```
/// # use std::time::Duration;
/// # use tidegate_core::wake::WakeLimit;
/// let limit: WakeLimit = "3/10m".parse()?;
/// assert_eq!((limit.count, limit.per), (3, Duration::from_secs(600)));
/// # Ok::<(), String>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct WakeLimit {
    /// Wakes, at least 1
    pub count: u32,
    /// The time for them, in whole seconds: from 1 s to a day
    pub per: Duration,
}

impl FromStr for WakeLimit {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        read(text).ok_or_else(|| {
            format!(
                "a number of wakes from 1 to {MOST} and a time from 1s to 24h, such as \"10/h\", \"3/10m\" or \"1/30s\""
            )
        })
    }
}

fn read(text: &str) -> Option<WakeLimit> {
    let (count, per) = text.split_once('/')?;
    let count = count.trim().parse().ok().filter(|count| (1..=MOST).contains(count))?;
    let per = per.trim();
    let unit = UNITS.iter().find(|(unit, _)| *unit == per);
    let per = unit.map_or_else(|| humantime::parse_duration(per).ok(), |(_, one)| Some(*one))?;
    let fits = (SECOND..=LONGEST).contains(&per) && per.subsec_nanos() == 0;
    fits.then_some(WakeLimit { count, per })
}

impl fmt::Display for WakeLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match UNITS.iter().find(|(_, one)| *one == self.per) {
            Some((unit, _)) => write!(f, "{}/{unit}", self.count),
            None => write!(f, "{}/{}", self.count, humantime::format_duration(self.per)),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_limit_is_a_number_of_wakes_and_a_time() {
        for (text, count, seconds) in [("10/h", 10, 3600), ("3/10m", 3, 600), ("1/30s", 1, 30), ("2 / 1h 30m", 2, 5400)]
        {
            assert_eq!(text.parse(), Ok(WakeLimit { count, per: Duration::from_secs(seconds) }), "{text}");
        }
    }

    #[test]
    fn anything_else_is_refused_with_what_is_wanted() {
        for text in ["", "10", "/h", "0/h", "-1/h", "10/", "10/x", "10/0s", "10/500ms", "1/25h", "10001/h", "1/h/h"] {
            assert!(text.parse::<WakeLimit>().unwrap_err().contains("such as \"10/h\""), "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_limit_is_read_back_as_it_is_written(count in 1..=MOST, seconds in 1..=LONGEST.as_secs()) {
            let limit = WakeLimit { count, per: Duration::from_secs(seconds) };
            prop_assert_eq!(limit.to_string().parse(), Ok(limit));
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in "\\PC*|[0-9]{1,12}/[0-9]{0,22}[smhdy ]{0,3}") {
            let _ = text.parse::<WakeLimit>();
        }
    }
}
