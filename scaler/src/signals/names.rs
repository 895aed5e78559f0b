//! Which clusters are kept, and under which names the proxies tell of them.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::Arc,
};

use tokio::time::Instant;

use super::{FORGET_AFTER, MAX_NAMED};

/// The clusters that are kept, by the names of their series, with ids from 0 on.
///
/// Envoy cuts the label `envoy_cluster_name` at the first dot of a cluster's name and moves the rest into the name of the
/// metric, where only letters, digits and underscores stay (seen with Envoy 1.40): `httproute/shop/api.v1/rule/0` comes as
/// `envoy_cluster_v1_rule_0_upstream_rq_total{envoy_cluster_name="httproute/shop/api"}`. So the series of a name with dots
/// is called by the label, a dot and that rest: `httproute/shop/api.v1_rule_0`. Two clusters whose names differ in such
/// characters only cannot be told apart; both are given the sum.
#[derive(Debug, Default, Clone)]
pub struct Series {
    ids: HashMap<Box<str>, u32>,
    generation: u64,
}

impl Series {
    /// Series of these clusters, with ids in their order.
    pub fn of<'a>(clusters: impl IntoIterator<Item = &'a str>) -> Self {
        let mut series = Self::default();
        series.keep(clusters.into_iter(), &mut Ids::default());
        series
    }

    /// The id of a series.
    pub fn id(&self, series: &str) -> Option<u32> {
        self.ids.get(series).copied()
    }

    /// The id of a cluster by its own name.
    pub fn of_cluster(&self, cluster: &str) -> Option<u32> {
        match series_name(cluster) {
            Some(series) => self.id(&series),
            None => self.id(cluster),
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether there are none: nothing is measured then.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// Whether any cluster's name has a dot.
    pub fn has_dots(&self) -> bool {
        self.ids.keys().any(|series| series.contains('.'))
    }

    /// Counts the changes of what is kept: an id may be given to another cluster at each.
    pub(super) fn generation(&self) -> u64 {
        self.generation
    }

    /// Names and ids.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, u32)> {
        self.ids.iter().map(|(name, id)| (name.as_ref(), *id))
    }

    /// Keeps just these; gives the ids that were added and those that are free now.
    pub(super) fn keep<'a>(&mut self, clusters: impl Iterator<Item = &'a str>, ids: &mut Ids) -> Change {
        let mut kept = HashMap::with_capacity(self.ids.len());
        let mut added = Vec::new();
        for cluster in clusters {
            let series = series_name(cluster).map_or_else(|| Box::from(cluster), String::into_boxed_str);
            if let Entry::Vacant(entry) = kept.entry(series) {
                let id = self.ids.remove(entry.key()).unwrap_or_else(|| {
                    let id = ids.take();
                    added.push(id);
                    id
                });
                entry.insert(id);
            }
        }
        let removed: Vec<u32> = self.ids.drain().map(|(_, id)| id).collect();
        ids.free.extend(&removed);
        self.ids = kept;
        self.generation += u64::from(!added.is_empty() || !removed.is_empty());
        Change { added, removed }
    }
}

/// What [`Series::keep`] did.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Change {
    pub(super) added: Vec<u32>,
    pub(super) removed: Vec<u32>,
}

/// Gives out dense ids.
#[derive(Debug, Default)]
pub(super) struct Ids {
    free: Vec<u32>,
    next: u32,
}

impl Ids {
    fn take(&mut self) -> u32 {
        self.free.pop().unwrap_or_else(|| {
            self.next += 1;
            self.next - 1
        })
    }
}

/// The series of a cluster whose name has dots; `None` when it is called as the cluster is.
fn series_name(cluster: &str) -> Option<String> {
    let (label, rest) = cluster.split_once('.')?;
    let rest = rest.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '_' });
    Some(label.chars().chain(['.']).chain(rest).collect())
}

/// What the Plan and hand-written triggers name.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    planned: Vec<Arc<str>>,
    /// When each was last asked for
    named: HashMap<Box<str>, Instant>,
    changed: bool,
}

impl Wanted {
    pub(super) fn plan(&mut self, clusters: Vec<Arc<str>>) {
        self.changed |= self.planned != clusters;
        self.planned = clusters;
    }

    pub(super) fn name(&mut self, cluster: &str, now: Instant) {
        if let Some(asked) = self.named.get_mut(cluster) {
            *asked = now;
        } else if self.named.len() < MAX_NAMED {
            self.named.insert(cluster.into(), now);
            self.changed = true;
        }
    }

    /// Whether no further name fits.
    pub(super) fn is_full(&self) -> bool {
        self.named.len() >= MAX_NAMED
    }

    /// The names to keep, if they changed since the last call.
    pub(super) fn take_changes(&mut self, now: Instant) -> Option<impl Iterator<Item = &str>> {
        let before = self.named.len();
        self.named.retain(|_, asked| now.duration_since(*asked) < FORGET_AFTER);
        let changed = std::mem::take(&mut self.changed) || before != self.named.len();
        changed.then(|| self.planned.iter().map(AsRef::as_ref).chain(self.named.keys().map(AsRef::as_ref)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_dots_is_found_as_envoy_writes_it() {
        let mut series = Series::default();
        let names =
            ["httproute/ns/my.route-x.v1/rule/0", "tcproute/ns/tcp.refused/rule/-1", "httproute/ns/plain/rule/0"];
        series.keep(names.into_iter(), &mut Ids::default());
        assert_eq!(series.id("httproute/ns/my.route_x_v1_rule_0"), Some(0));
        assert_eq!(series.id("tcproute/ns/tcp.refused_rule__1"), Some(1));
        assert_eq!(series.of_cluster("httproute/ns/my.route-x.v1/rule/0"), Some(0));
        assert_eq!(series.of_cluster("httproute/ns/plain/rule/0"), Some(2));
        assert_eq!(series.of_cluster("httproute/ns/my"), None);
    }

    #[test]
    fn names_that_envoy_makes_alike_share_a_series() {
        let mut series = Series::default();
        series.keep(["r/a.b.c", "r/a.b-c"].into_iter(), &mut Ids::default());
        assert_eq!((series.len(), series.of_cluster("r/a.b.c")), (1, series.of_cluster("r/a.b-c")));
    }

    #[test]
    fn ids_stay_while_a_cluster_is_kept_and_are_used_again_after() {
        let (mut series, mut ids) = (Series::default(), Ids::default());
        series.keep(["a", "b"].into_iter(), &mut ids);
        assert_eq!(series.keep(["b", "c"].into_iter(), &mut ids), Change { added: vec![2], removed: vec![0] });
        assert_eq!(series.keep(["b", "c", "d"].into_iter(), &mut ids), Change { added: vec![0], removed: vec![] });
        assert_eq!((series.id("b"), series.generation()), (Some(1), 3));
        series.keep(["d", "c", "b", "b"].into_iter(), &mut ids);
        assert_eq!(series.generation(), 3);
    }

    #[test]
    fn a_named_cluster_is_forgotten_when_nobody_asks_for_it() {
        let (mut wanted, start) = (Wanted::default(), Instant::now());
        wanted.plan(vec!["planned".into()]);
        wanted.name("named", start);
        let mut names = |after| wanted.take_changes(start + after).map(|names| names.collect::<Vec<_>>().join(" "));
        assert_eq!(names(FORGET_AFTER / 2).as_deref(), Some("planned named"));
        assert_eq!(names(FORGET_AFTER / 2), None);
        assert_eq!(names(FORGET_AFTER).as_deref(), Some("planned"));
    }

    #[test]
    fn no_more_names_are_taken_than_there_is_room_for() {
        let (mut wanted, now) = (Wanted::default(), Instant::now());
        (0..MAX_NAMED + 5).for_each(|n| wanted.name(&n.to_string(), now));
        assert!(wanted.is_full());
        assert_eq!(wanted.take_changes(now).unwrap().count(), MAX_NAMED);
    }
}
