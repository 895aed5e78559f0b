//! Reports, once each, the pods that have the labels of a proxy but are not accepted as one: otherwise it looks like a mistake that
//! they are left out.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use tidegate_cluster::{NotAProxy, strangers};
use tokio::time::interval;

use super::Watches;

/// Time between two looks.
const ROUND: Duration = Duration::from_secs(30);
/// Most log lines of one look, so that someone who creates many such pods cannot fill the log.
const AT_ONCE: usize = 10;

/// Looks for as long as it is polled.
pub(super) async fn report(watches: Watches) {
    let mut rounds = interval(ROUND);
    let mut known = Reported::default();
    loop {
        rounds.tick().await;
        let found = watches.objects(|objects| strangers(objects).collect());
        for (pod, why) in known.news(&found) {
            tracing::warn!(pod, %why, "has the labels of a proxy of Envoy Gateway, but does not count as one");
        }
    }
}

/// The strangers of the last look, and whether each was reported.
#[derive(Default)]
struct Reported(HashMap<String, bool>);

impl Reported {
    /// The strangers to report now: they were already there at the previous look, since a pod may be seen before its owners.
    fn news<'a>(&mut self, found: &'a BTreeMap<String, NotAProxy>) -> Vec<(&'a String, &'a NotAProxy)> {
        self.0.retain(|pod, _| found.contains_key(pod));
        let unreported = |pod: &String| self.0.get(pod).is_some_and(|reported| !reported);
        let news: Vec<_> = found.iter().filter(|(pod, _)| unreported(pod)).take(AT_ONCE).collect();
        for pod in found.keys() {
            self.0.entry(pod.clone()).or_insert(false);
        }
        for (pod, _) in &news {
            self.0.insert((*pod).clone(), true);
        }
        news
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(pods: impl IntoIterator<Item = &'static str>) -> BTreeMap<String, NotAProxy> {
        pods.into_iter().map(|pod| (pod.to_owned(), NotAProxy::NoController)).collect()
    }

    fn names<'a>(news: &[(&'a String, &'a NotAProxy)]) -> Vec<&'a str> {
        news.iter().map(|(pod, _)| pod.as_str()).collect()
    }

    #[test]
    fn a_pod_is_reported_once_when_it_was_there_at_two_looks_in_a_row() {
        let mut known = Reported::default();
        let (one, two, none) = (found(["evil/a"]), found(["evil/a", "evil/b"]), found([]));
        assert!(known.news(&one).is_empty());
        assert_eq!(names(&known.news(&two)), ["evil/a"]);
        assert_eq!(names(&known.news(&two)), ["evil/b"]);
        assert!(known.news(&two).is_empty());
        assert!(known.news(&none).is_empty());
        assert!(known.news(&one).is_empty(), "it was gone in between");
    }

    #[test]
    fn many_pods_at_once_are_reported_in_several_looks() {
        let many: BTreeMap<_, _> = (0..25).map(|i| (format!("evil/{i}"), NotAProxy::NoController)).collect();
        let mut known = Reported::default();
        let reported: Vec<_> = (0..5).map(|_| known.news(&many).len()).collect();
        assert_eq!(reported, [0, 10, 10, 5, 0]);
    }
}
