//! Random hours in many zones, beside a look at every minute.

use super::*;

/// Zones of every kind: no changes, whole and half hours, both hemispheres, changes at midnight, and changes for Ramadan.
const ZONES: [&str; 44] = [
    "Africa/Cairo",
    "Africa/Casablanca",
    "Africa/El_Aaiun",
    "Africa/Johannesburg",
    "Africa/Lagos",
    "America/Anchorage",
    "America/Asuncion",
    "America/Bogota",
    "America/Caracas",
    "America/Chicago",
    "America/Denver",
    "America/Halifax",
    "America/Havana",
    "America/Los_Angeles",
    "America/Mexico_City",
    "America/New_York",
    "America/Nuuk",
    "America/Santiago",
    "America/Sao_Paulo",
    "America/St_Johns",
    "Antarctica/Troll",
    "Asia/Amman",
    "Asia/Beirut",
    "Asia/Dhaka",
    "Asia/Gaza",
    "Asia/Jerusalem",
    "Asia/Kathmandu",
    "Asia/Kolkata",
    "Asia/Pyongyang",
    "Asia/Tehran",
    "Asia/Tokyo",
    "Atlantic/Azores",
    "Australia/Adelaide",
    "Australia/Lord_Howe",
    "Australia/Sydney",
    "Europe/Berlin",
    "Europe/Dublin",
    "Europe/Istanbul",
    "Europe/London",
    "Europe/Moscow",
    "Pacific/Apia",
    "Pacific/Auckland",
    "Pacific/Chatham",
    "UTC",
];

/// Weekly hours: days, and minutes since midnight that may go past the next one.
#[derive(Debug, Clone)]
struct Weekly {
    days: BTreeSet<u8>,
    start: u16,
    length: u16,
    /// Whether an end on the next day is written as a time of that day, `02:00` for `26:00`
    wraps: bool,
}

impl Weekly {
    fn text(&self) -> String {
        let clock = |minutes: u16| format!("{:02}:{:02}", minutes / 60, minutes % 60);
        let end = self.start + self.length;
        let end = if self.wraps && end >= MIDNIGHT { end - MIDNIGHT } else { end };
        format!("{} {}-{}", names(&self.days), clock(self.start), clock(end))
    }

    fn is_for(&self, day: Weekday) -> bool {
        self.days.contains(&(day.num_days_from_monday() as u8))
    }
}

fn names(days: &BTreeSet<u8>) -> String {
    const NAMES: [&str; 7] = ["Mo", "Tu", "We", "Th", "Fr", "Sa", "Su"];
    days.iter().map(|day| NAMES[usize::from(*day)]).collect::<Vec<_>>().join(",")
}

fn weekly() -> impl Strategy<Value = Weekly> {
    (prop::collection::btree_set(0u8..7, 1..7), 0u16..1440, 1u16..=1440, any::<bool>())
        .prop_map(|(days, start, length, wraps)| Weekly { days, start, length, wraps })
}

/// The start of two days somewhere in twenty years; with `at_change` they are around a clock change, if there is one within a year.
fn around(zone: Tz, day: u32, at_change: bool) -> DateTime<Utc> {
    let start = utc("2008-01-01T00:00:00Z") + Duration::days(day.into());
    let offset = |at: DateTime<Utc>| at.with_timezone(&zone).offset().fix();
    let changes =
        (0..366).map(|days| start + Duration::days(days)).find(|at| offset(*at) != offset(*at + Duration::days(1)));
    changes.filter(|_| at_change).map_or(start, |change| change - Duration::hours(12))
}

/// Whether it is open, minute by minute, from the local time of each minute alone: it opens at the first minute at which the clock
/// has reached the start. It closes when the clock shows the end for the last time or, where the clock skips the end, after the
/// last minute before it. Nothing starts on a day that is off, and a span from the day before ends at its midnight.
fn brute_force(weekly: &[Weekly], off: &BTreeSet<u8>, zone: Tz, start: DateTime<Utc>, minutes: i64) -> Vec<bool> {
    const MARGIN: i64 = 4 * 1440;
    let clock: Vec<_> = (-MARGIN..minutes + MARGIN)
        .map(|minute| (start + Duration::minutes(minute)).with_timezone(&zone).naive_local())
        .collect();
    let mut open = vec![false; clock.len()];
    let (first, last) = (clock[0].date(), clock[clock.len() - 1].date());
    let is_off = |date: NaiveDate| off.contains(&(date.weekday().num_days_from_monday() as u8));
    for date in first.iter_days().skip(2).take_while(|date| *date < last) {
        for hours in weekly.iter().filter(|hours| hours.is_for(date.weekday()) && !is_off(date)) {
            let end = hours.start + hours.length;
            let end = if is_off(date.succ_opt().unwrap()) { end.min(1440) } else { end };
            let at = |minute: u16| date.and_time(NaiveTime::MIN) + Duration::minutes(minute.into());
            let opens = clock.iter().position(|now| *now >= at(hours.start));
            let shown = clock.iter().rposition(|now| *now == at(end));
            let closes = shown.or_else(|| clock.iter().rposition(|now| *now < at(end)).map(|last| last + 1));
            if let (Some(opens), Some(closes)) = (opens, closes) {
                (opens..closes).for_each(|minute| open[minute] = true);
            }
        }
    }
    open[MARGIN as usize..(MARGIN + minutes) as usize].to_vec()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn it_is_open_when_a_look_at_every_minute_says_so(
        zone in prop::sample::select(&ZONES[..]), day in 0u32..20 * 365, at_change in any::<bool>(),
        weekly in prop::collection::vec(weekly(), 1..3), off in prop::collection::btree_set(0u8..7, 0..3),
    ) {
        let zone: Tz = zone.parse().unwrap();
        let start = around(zone, day, at_change);
        let text = weekly.iter().map(Weekly::text).collect::<Vec<_>>().join(", ");
        let text = if off.is_empty() { text } else { format!("{text}; {} off", names(&off)) };
        let calendar = calendar(&text, zone.name());
        let minutes = 2 * 1440;
        let within = start..start + Duration::minutes(minutes);
        let intervals = calendar.intervals(&within);
        let told: Vec<bool> = (0..minutes)
            .map(|minute| start + Duration::minutes(minute))
            .map(|at| intervals.iter().any(|open| open.contains(&at)))
            .collect();
        let looked = brute_force(&weekly, &off, zone, start, minutes);
        let differs = told.iter().zip(&looked).position(|(told, looked)| told != looked);
        prop_assert_eq!(differs, None, "minutes after {} in {}: {}", start, zone, text);
        prop_assert!(intervals.windows(2).all(|pair| pair[0].end < pair[1].start));
    }

    #[test]
    fn the_state_flips_at_the_next_change_and_not_before(
        zone in prop::sample::select(&ZONES[..]), day in 0u32..20 * 365, at_change in any::<bool>(), weekly in weekly(),
        parts in prop::collection::vec(0.0f64..1.0, 8),
    ) {
        let calendar = calendar(&weekly.text(), zone);
        let at = around(calendar.zone, day, at_change);
        let open = calendar.is_open(at);
        if let Some(change) = calendar.next_change(at) {
            prop_assert!(change > at);
            prop_assert_ne!(calendar.is_open(change), open);
            prop_assert_eq!(calendar.is_open(change - Duration::seconds(1)), open);
            for part in parts {
                let between = at + Duration::seconds(((change - at).num_seconds() as f64 * part) as i64);
                prop_assert_eq!(calendar.is_open(between), open, "at {}", between);
            }
        }
    }

    #[test]
    fn no_text_makes_it_panic(text in ".{0,60}", day in 0u32..20 * 365) {
        if let Ok(hours) = Hours::parse(&text, &Holidays::default()) {
            let calendar = Calendar::new(hours, Tz::Europe__Berlin);
            calendar.next_change(around(calendar.zone, day, false));
        }
    }
}
