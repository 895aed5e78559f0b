//! `tidegate migrate` keeps the replicas: manifests as people publish them are replayed for two days, once as they are and once as
//! the annotations that they become, through KEDA's and the HPA's loops. The numbers are the same at the end of each minute, or the
//! migration said in words how they differ.

#![allow(clippy::unwrap_used, clippy::panic)]

mod after;
mod before;
mod keda;
mod load;

use std::{fmt::Write, time::Duration};

use chrono::{DateTime, TimeDelta, TimeZone, Utc};
use serde_json::Value;
use tidegate_cluster::migrate::migrate;

use self::{
    after::{After, WORKER},
    before::Before,
};

/// Between two measurements, and between two looks of the HPA.
const STEP: Duration = Duration::from_secs(15);
/// A Friday and a Saturday.
const MINUTES: i64 = 2 * 24 * 60;
/// Replicas before the first decision.
const AT_FIRST: u32 = 3;

/// A difference that the migration says, in these words.
enum Said {
    /// The replicas of before lag behind by up to as many minutes
    BeforeIsLate(usize, &'static str),
    /// Tidegate's lag behind by up to as many minutes
    AfterIsLate(usize, &'static str),
    /// Tidegate keeps as many
    Keeps(u32, &'static str),
    /// There were up to as many more before
    MoreBefore(u32, &'static str),
}

/// How the replicas may differ.
#[derive(Default)]
struct Differs {
    before_is_late: usize,
    after_is_late: usize,
    keeps: u32,
    more_before: u32,
}

impl Differs {
    /// What the migration says. Its words have to be there.
    fn as_said(all: &[Said], remarks: &[String]) -> Self {
        let mut differs = Self::default();
        for said in all {
            let words = match *said {
                Said::BeforeIsLate(minutes, words) => {
                    differs.before_is_late = differs.before_is_late.max(minutes);
                    words
                }
                Said::AfterIsLate(minutes, words) => {
                    differs.after_is_late = minutes;
                    words
                }
                Said::Keeps(replicas, words) => {
                    differs.keeps = replicas;
                    words
                }
                Said::MoreBefore(replicas, words) => {
                    differs.more_before = replicas;
                    words
                }
            };
            assert!(remarks.iter().any(|remark| remark.contains(words)), "\"{words}\" is not in {remarks:#?}");
        }
        differs
    }

    /// Whether `was` is among the replicas `now` of about the same minute.
    fn allows(&self, was: u32, now: &[u32], minute: usize) -> bool {
        let around = minute.saturating_sub(self.before_is_late)..=(minute + self.after_is_late).min(now.len() - 1);
        let (least, most) = (now[around.clone()].iter().min().unwrap(), now[around].iter().max().unwrap());
        (*least..=*most + self.more_before).contains(&was.max(self.keeps))
    }
}

fn start() -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2026, 3, 6, 0, 0, 0).unwrap()
}

fn steps(start: DateTime<Utc>) -> impl Iterator<Item = DateTime<Utc>> {
    (0..MINUTES * 4).map(move |step| start + STEP * u32::try_from(step).unwrap())
}

/// Replays a manifest; a table of what differs without a word.
async fn unsaid(manifest: &str, said: &[Said]) -> String {
    let manifest: Value = tidegate_core::yaml::read(manifest).unwrap();
    let migration = migrate(std::slice::from_ref(&manifest));
    let remarks: Vec<_> = migration.remarks.iter().map(ToString::to_string).collect();
    let differs = Differs::as_said(said, &remarks);
    let after = After::of(&migration, &manifest, start());
    let scaled = after.scaled_objects.keys().filter(|name| *name != WORKER || manifest["kind"] == "SleepInfo");
    let [name] = scaled.collect::<Vec<_>>()[..] else { panic!("{:?}", after.scaled_objects) };
    let before = Before::of(&manifest, start()).replicas(start());
    let now = after.replicas(name, start()).await;
    assert!(before.iter().any(|replicas| *replicas != before[0]), "nothing was scaled");
    let mut table = String::new();
    for (minute, was) in before.iter().enumerate().filter(|(minute, was)| !differs.allows(**was, &now, *minute)) {
        let at = start() + TimeDelta::minutes(i64::try_from(minute).unwrap());
        writeln!(table, "{}: {was} before, {} as annotations", at.format("%a %H:%M"), now[minute]).unwrap();
    }
    table
}

macro_rules! keeps_its_replicas {
    ($($test:ident $file:literal [$($said:expr),*];)*) => {$(
        #[tokio::test(start_paused = true)]
        async fn $test() {
            let unsaid = unsaid(include_str!(concat!("manifests/", $file, ".yaml")), &[$($said),*]).await;
            assert!(unsaid.is_empty(), "{unsaid}");
        }
    )*};
}

keeps_its_replicas! {
    requests_and_concurrency_of_prometheus "prometheus-requests-and-concurrency" [Said::BeforeIsLate(1, "was averaged over 1m")];
    a_query_of_prometheus_that_went_to_zero "prometheus-to-zero"
        [Said::BeforeIsLate(2, "was averaged over 2m"), Said::Keeps(1, "but 1 replica is kept")];
    a_kafka_consumer_that_goes_to_zero "kafka-to-zero"
        [Said::BeforeIsLate(3, "above zero the HPA waited 300 s"), Said::MoreBefore(1, "has one more at times")];
    a_kafka_consumer_with_a_minimum "kafka-with-a-minimum" [];
    cron_alone "cron" [];
    cron_beside_traffic "cron-and-prometheus" [Said::BeforeIsLate(1, "was averaged over 1m")];
    cron_beside_cpu "cron-and-cpu" [];
    a_trigger_of_keda_beside_kafka "kafka-and-rabbitmq" [];
    an_hpa_on_cpu "hpa" [];
    hours_of_kube_downscaler "kube-downscaler" [Said::AfterIsLate(5, "the replicas stay for 5 min more")];
    a_namespace_of_kube_green "kube-green" [Said::AfterIsLate(5, "the replicas stay for 5 min more")];
    an_object_of_the_http_add_on "http-add-on" [Said::BeforeIsLate(1, "was averaged over 1m")];
}
