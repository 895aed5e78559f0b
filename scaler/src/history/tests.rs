use chrono::TimeDelta;
use proptest::prelude::*;
use tidegate_core::{plan::Replicas, schedule::Phase, signal::Signal};

use super::{change::Decisive, *};
use crate::fixture::deployment;

fn at(second: u32) -> DateTime<Utc> {
    instant(1_800_000_000 + second)
}

fn change(second: u32, from: Option<u32>, to: Option<u32>) -> Change {
    let decisive = Decisive { signal: Signal::RequestsPerSecond, demand: 642.0, per_replica: 100.0, needs: 7 };
    Change {
        at: at(second),
        from,
        to,
        cause: Cause::Demand,
        detail: None,
        why: Why { decisive: Some(decisive), ..Why::default() },
        replicas: Replicas { wanted: 6, ready: 5 },
    }
}

fn any_why() -> impl Strategy<Value = Why> {
    let decisive = (prop::sample::select(&Signal::ALL[..]), 0.0..1e9_f32, 0.001..1e9_f32, any::<u32>());
    let decisive =
        decisive.prop_map(|(signal, demand, per_replica, needs)| Decisive { signal, demand, per_replica, needs });
    let limit = prop::sample::select(&Limit::ALL[..]);
    let phase = prop::sample::select(vec![Phase::Open, Phase::Awake, Phase::WarmUp, Phase::Closed]);
    let flags = (any::<bool>(), any::<bool>(), any::<bool>());
    (
        prop::option::of(decisive),
        prop::option::of(limit),
        prop::option::of(phase),
        flags,
        prop::option::of("[a-c]{0,9}"),
    )
        .prop_map(|(decisive, limit, phase, (held, holds_requests, last_known), unknown)| Why {
            decisive,
            limit,
            phase,
            held,
            holds_requests,
            last_known,
            unknown,
        })
}

/// Changes of one workload, each some time after the one before.
fn any_changes(most: usize) -> impl Strategy<Value = Vec<Change>> {
    let numbers = (0_u32..100_000, any::<Option<u32>>(), any::<u32>(), any::<u32>());
    let one = (numbers, any_why(), prop::sample::select(&Cause::ALL[..]), prop::option::of("[a-e]{0,40}"));
    prop::collection::vec(one, 1..most).prop_map(|all| {
        let (mut now, mut from, mut changes) = (0, None, Vec::new());
        for ((later, to, wanted, ready), why, cause, detail) in all {
            now += later;
            changes.push(Change { at: at(now), from, to, cause, detail, why, replicas: Replicas { wanted, ready } });
            from = to;
        }
        changes
    })
}

const SMALL: HistoryLimits = HistoryLimits { total: 6000, of_workload: 400 };

proptest! {
    #[test]
    fn what_is_read_is_what_was_added(changes in any_changes(40)) {
        let history = History::default();
        for change in &changes {
            history.add(&deployment("api"), change);
        }
        prop_assert_eq!(&history.changes(&deployment("api"), at(0)), &changes);
        let last = changes[changes.len().saturating_sub(10)..].to_vec();
        prop_assert_eq!(history.last(&deployment("api"), 10), last);
        let middle = changes[changes.len() / 2].at;
        let since: Vec<_> = changes.iter().filter(|change| change.at >= middle).cloned().collect();
        prop_assert_eq!(history.changes(&deployment("api"), middle), since);
    }

    #[test]
    fn no_limit_is_ever_exceeded_and_what_is_left_are_the_newest(of in prop::collection::vec(any_changes(60), 1..12)) {
        let history = History::new(SMALL);
        let mut all: Vec<_> = of.iter().enumerate().flat_map(|(workload, changes)| changes.iter().map(move |change| (workload, change))).collect();
        all.sort_by_key(|(_, change)| change.at);
        let id = |workload: usize| deployment(&format!("api-{workload}"));
        for (workload, change) in all {
            history.add(&id(workload), change);
            prop_assert!(history.size() <= SMALL.total, "{}", history.size());
            prop_assert!(history.kept.lock().rings.values().all(|ring| ring.len() <= SMALL.of_workload));
        }
        for (workload, changes) in of.iter().enumerate() {
            let kept = history.changes(&id(workload), at(0));
            prop_assert_eq!(&kept, &changes[changes.len() - kept.len()..]);
        }
        // What no ring of its own limit dropped went in the order of time.
        let kept = history.kept.lock();
        let counted: usize = kept.rings.iter().map(|(id, ring)| ring.size(id)).sum();
        prop_assert_eq!(counted, kept.bytes);
    }

    #[test]
    fn what_one_process_gives_another_has(changes in any_changes(40)) {
        let (elder, young) = (History::default(), History::default());
        for change in &changes {
            elder.add(&deployment("api"), change);
        }
        prop_assert!(young.restore(&elder.record(&deployment("api")).unwrap()));
        prop_assert_eq!(young.changes(&deployment("api"), at(0)), elder.changes(&deployment("api"), at(0)));
        prop_assert_eq!(young.size(), elder.size());
    }

    #[test]
    fn no_record_makes_it_panic_or_grow(record in prop::collection::vec(any::<u8>(), 0..400), cut in 0..300_usize) {
        let history = History::new(SMALL);
        history.restore(&record);
        let elder = History::default();
        (0..20).for_each(|second| elder.add(&deployment("api"), &change(second, None, Some(second))));
        let mut good = elder.record(&deployment("api")).unwrap();
        good.truncate(cut);
        good.extend(record);
        history.restore(&good);
        prop_assert!(history.size() <= SMALL.total);
    }

    #[test]
    fn nothing_that_is_read_can_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut rest = &*bytes;
        while let Some((_, _, after)) = Entry::decode(rest) {
            prop_assert!(after.len() < rest.len());
            rest = after;
        }
    }
}

#[test]
fn one_that_changes_all_the_time_costs_no_other_its_past() {
    let history = History::new(HistoryLimits { total: 100_000, of_workload: 1000 });
    history.add(&deployment("calm"), &change(0, None, Some(3)));
    (1..10_000).for_each(|second| history.add(&deployment("busy"), &change(second, Some(1), Some(2))));
    assert_eq!(history.changes(&deployment("calm"), at(0)), [change(0, None, Some(3))]);
    let busy = history.changes(&deployment("busy"), at(0));
    assert!(busy.len() > 30 && busy.last() == Some(&change(9999, Some(2), Some(2))), "{}", busy.len());
}

#[test]
fn when_all_are_too_large_the_oldest_changes_of_all_go_first() {
    let history = History::new(HistoryLimits { total: 20_000, of_workload: 20_000 });
    let id = |second: u32| deployment(&format!("api-{}", second % 7));
    (0..3000).for_each(|second| history.add(&id(second), &change(second, Some(1), Some(2))));
    let firsts: Vec<_> = (0..7).filter_map(|workload| history.since(&id(workload))).collect();
    let (oldest, newest) = (firsts.iter().min().unwrap(), firsts.iter().max().unwrap());
    assert_eq!(firsts.len(), 7);
    assert!(*newest - *oldest < TimeDelta::seconds(7), "{firsts:?}");
    assert!(history.size() > 15_000, "{}", history.size());
}

#[test]
fn a_text_is_kept_once_and_given_back_with_the_last_change_that_has_it() {
    let history = History::new(HistoryLimits { total: 4000, of_workload: 4000 });
    let why = |unknown: String| Why { unknown: Some(unknown), ..Why::default() };
    let with = |second: u32, text: String| Change { why: why(text), ..change(second, None, None) };
    (0..20).for_each(|second| history.add(&deployment("api"), &with(second, "x".repeat(200))));
    assert!(history.size() < 1000, "{}", history.size());
    (20..5000)
        .for_each(|second| history.add(&deployment("api"), &with(second, format!("{second} {}", "y".repeat(200)))));
    let kept = history.changes(&deployment("api"), at(0));
    assert_eq!(kept.last(), Some(&with(4999, format!("4999 {}", "y".repeat(200)))));
    assert_eq!(history.kept.lock().texts.count(), kept.len(), "all others were given back");
}

#[test]
fn what_an_elder_remembers_stands_before_what_was_seen_here() {
    let (elder, young) = (History::default(), History::default());
    (0..10).for_each(|second| elder.add(&deployment("api"), &change(second, Some(second), Some(second + 1))));
    (5..15).for_each(|second| young.add(&deployment("api"), &change(second, Some(100), Some(100 + second))));
    assert!(young.restore(&elder.record(&deployment("api")).unwrap()));
    let numbers: Vec<_> = young.changes(&deployment("api"), at(0)).iter().map(|change| change.to.unwrap()).collect();
    assert_eq!(numbers, [&(1..=5).collect::<Vec<_>>()[..], &(105..115).collect::<Vec<_>>()].concat());
}

#[test]
fn the_wanted_numbers_of_instants_are_those_after_the_changes_before_them() {
    let history = History::default();
    history.add(&deployment("api"), &change(10, None, Some(2)));
    history.add(&deployment("api"), &change(30, Some(2), Some(5)));
    history.add(&deployment("api"), &change(30, Some(5), None));
    let asked = [0, 10, 29, 30, 99].map(at);
    assert_eq!(history.wanted(&deployment("api"), &asked), [None, Some(2), Some(2), None, None]);
    assert_eq!(history.wanted(&deployment("web"), &asked), [None; 5]);
}

#[test]
fn a_clock_that_is_set_back_changes_neither_order_nor_reasons() {
    let history = History::default();
    for second in [50, 20, 60] {
        history.add(&deployment("api"), &change(second, None, None));
    }
    let times: Vec<_> = history.changes(&deployment("api"), at(0)).iter().map(|change| change.at).collect();
    assert_eq!(times, [at(50), at(50), at(60)]);
}

#[test]
fn each_reason_is_a_sentence_that_names_the_numbers() {
    let decisive = change(0, None, None).why;
    let schedule = Decisive { signal: Signal::Schedule, demand: 3.0, per_replica: 1.0, needs: 3 };
    for (why, sentence) in [
        (decisive.clone(), "642.0 requests/s ÷ 100 per replica"),
        (
            Why { limit: Some(Limit::MaxReplicas), ..decisive.clone() },
            "642.0 requests/s ÷ 100 per replica needs 7, max-replicas decides",
        ),
        (
            Why { limit: Some(Limit::OffHours), ..decisive.clone() },
            "642.0 requests/s ÷ 100 per replica, outside its hours",
        ),
        (
            Why { held: true, ..decisive.clone() },
            "642.0 requests/s ÷ 100 per replica; scale-down-after keeps the others",
        ),
        (Why { last_known: true, ..decisive.clone() }, "642.0 requests/s ÷ 100 per replica; the last known value"),
        (
            Why { unknown: Some("no proxy answers".into()), ..decisive },
            "642.0 requests/s ÷ 100 per replica; nothing is taken away: no proxy answers",
        ),
        (Why { decisive: Some(schedule), ..Why::default() }, "the least inside its hours"),
        (Why { limit: Some(Limit::OffHours), ..Why::default() }, "outside its hours"),
        (Why { limit: Some(Limit::MinReplicas), ..Why::default() }, "nothing asks for any, min-replicas decides"),
        (Why::nothing("no proxy answers".into()), "not known: no proxy answers"),
        (
            Why { holds_requests: true, ..Why::default() },
            "nothing asks for any; requests are held until a pod is ready",
        ),
    ] {
        assert_eq!(why.to_string(), sentence);
    }
}

#[test]
fn every_signal_and_cause_has_a_number_in_the_encoding() {
    assert!(Signal::ALL.len() < 16 && Cause::ALL.len() <= 16 && Limit::ALL.len() < 4);
}
