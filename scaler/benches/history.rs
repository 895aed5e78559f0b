//! The history at 10,000 workloads: its memory when it is full, and the cost of a look at all of them.
//!
//! `cargo bench -p tidegate-scaler --bench history`. Every workload changes its number again and again, as none does in a calm week.
#![allow(clippy::unwrap_used, reason = "a benchmark that cannot run fails")]

mod plan;

use std::{
    collections::HashMap,
    fs,
    sync::Arc,
    time::{Duration, Instant},
};

use chrono::{DateTime, TimeDelta, Utc};
use tidegate_core::plan::Plan;
use tidegate_scaler::{
    demand::Demands,
    history::{Change, History, Recorder},
    overview::overview,
    store::SignalStore,
};

use self::plan::{WORKLOADS, id, plan};

const STALE_AFTER: Duration = Duration::from_secs(300);
/// Looks at all workloads, each of which has another number every time.
const CHANGING: u32 = 400;
const CALM: u32 = 20;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let plan = plan();
    let demands = Demands::new(Arc::new(SignalStore::new(STALE_AFTER)), STALE_AFTER);
    demands.signals().keep(&plan);
    measure(&demands, |index| index as f64);
    let (history, mut recorder) = (History::default(), Recorder::default());
    let begin: DateTime<Utc> = "2026-03-02T00:00:00Z".parse().unwrap();
    // Each workload is known from now on, and so is what the demand remembers of it.
    look(&history, &mut recorder, &plan, &demands, begin);

    let calm = Instant::now();
    for round in 1..=CALM {
        look(&history, &mut recorder, &plan, &demands, begin + TimeDelta::seconds(15) * round.cast_signed());
    }
    let calm = calm.elapsed() / CALM;
    println!(
        "a look at {WORKLOADS} workloads of which none changes: {calm:.1?}, which is {:.2} % of a core",
        percent(calm)
    );

    let template = history.last(&id(7), 1).pop().unwrap();
    let (full, before) = (History::default(), memory());
    let adding = Instant::now();
    let mut oldest = begin;
    for round in 0..CHANGING {
        let at = begin + TimeDelta::seconds(15) * round.cast_signed();
        for index in 0..WORKLOADS {
            full.add(&id(index), &Change { at, from: Some(round), to: Some(round + 1), ..template.clone() });
        }
        oldest = full.since(&id(0)).unwrap();
    }
    let each = adding.elapsed() / CHANGING / WORKLOADS as u32;
    let kept = full.changes(&id(0), begin).len();
    let mib = |bytes: usize| bytes as f64 / f64::from(1 << 20);
    println!(
        "full: {:.1} MiB resident, {:.1} MiB counted, {kept} changes of each of {WORKLOADS} workloads, {} of them; {each:.1?} for each",
        mib(memory() - before),
        mib(full.size()),
        (begin + TimeDelta::seconds(15) * (CHANGING - 1).cast_signed()) - oldest,
    );
    let last = Instant::now();
    let changes: usize = (0..WORKLOADS).map(|index| full.last(&id(index), 10).len()).sum();
    println!("the last ten changes of a workload: {:.1?}", last.elapsed() / WORKLOADS as u32);
    assert_eq!(changes, 10 * WORKLOADS);
    let overviewed = Instant::now();
    let rows = overview(&plan, &demands, &full).workloads.len();
    println!("an overview of {rows} workloads: {:.1?}", overviewed.elapsed());
}

fn look(history: &History, recorder: &mut Recorder, plan: &Plan, demands: &Demands, at: DateTime<Utc>) {
    for id in plan.workloads.keys() {
        recorder.look(history, id, plan, demands, at);
    }
}

fn measure(demands: &Demands, rate: impl Fn(usize) -> f64) {
    let cluster = |index: usize| {
        let id = id(index);
        format!("httproute/{}/{}/rule/0", id.namespace, id.name)
    };
    let values: HashMap<_, _> = (0..WORKLOADS).map(|index| (cluster(index), [rate(index), 0.0, 0.0])).collect();
    demands.signals().commit_values("bench", Ok(values));
}

fn percent(look: Duration) -> f64 {
    look.as_secs_f64() / 15.0 * 100.0
}

/// Resident bytes of this process.
fn memory() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 1024
}
