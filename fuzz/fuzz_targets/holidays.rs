//! iCalendar files of holidays, as `tidegate calendar import` reads them.
#![no_main]

use chrono::NaiveDate;
use libfuzzer_sys::fuzz_target;

// The binary `tidegate` has no library. Its module stands alone.
#[allow(dead_code)]
#[path = "../../cli/src/calendar/ics.rs"]
mod ics;

fuzz_target!(|bytes: &[u8]| {
    let today = NaiveDate::from_ymd_opt(2026, 11, 27).unwrap_or_default();
    if let Ok(found) = ics::read(bytes, &(2026..=2028), today) {
        assert!(found.days.keys().all(|day| *day >= today), "{:?}", found.days);
        assert!(found.past.iter().all(|day| *day < today), "{:?}", found.past);
    }
});
