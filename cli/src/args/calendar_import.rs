//! Flags of `tidegate calendar import`.

use std::{ops::RangeInclusive, path::PathBuf, str::FromStr};

#[derive(Debug, clap::Args)]
pub(crate) struct CalendarImportArgs {
    /// An iCalendar file (RFC 5545); - for stdin
    pub(crate) ics: PathBuf,
    /// The Calendar's name
    #[arg(long, value_name = "NAME", required_unless_present = "file")]
    pub(crate) calendar: Option<String>,
    /// A manifest with the Calendar that gets the holidays
    #[arg(long, short, value_name = "FILE", conflicts_with_all = ["hours", "timezone"])]
    pub(crate) file: Option<PathBuf>,
    /// Opening hours of a new Calendar, in OpenStreetMap's notation
    #[arg(long, required_unless_present = "file")]
    pub(crate) hours: Option<String>,
    /// The IANA time zone of a new Calendar
    #[arg(long, value_name = "ZONE", required_unless_present = "file")]
    pub(crate) timezone: Option<String>,
    /// Years to import, such as 2026-2028 [default: this one and the next two]
    #[arg(long)]
    pub(crate) years: Option<Years>,
    /// Drop the dates that the Calendar of --file has
    #[arg(long, requires = "file")]
    pub(crate) replace: bool,
}

/// A year, or the first and the last of several.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Years(pub(crate) RangeInclusive<i32>);

impl FromStr for Years {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const WANTED: &str = "wants a year or two, such as 2026-2028, at most 10 in all";
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let year = |text: &str| text.parse().ok().filter(|year| (1970..=9990).contains(year)).ok_or(WANTED);
        let (first, last) = (year(first)?, year(last)?);
        if (first..first + 10).contains(&last) { Ok(Self(first..=last)) } else { Err(WANTED) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn years_are_one_or_a_few_in_order() {
        assert_eq!("2026-2028".parse(), Ok(Years(2026..=2028)));
        assert_eq!("2026".parse(), Ok(Years(2026..=2026)));
        for wrong in ["2028-2026", "2026-2036", "", "-", "2026-", "99999999999"] {
            assert!(wrong.parse::<Years>().is_err(), "{wrong}");
        }
    }
}
