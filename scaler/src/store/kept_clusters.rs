//! The clusters that are kept, and the names under which the proxies report them.

use std::{
    collections::{BTreeMap, HashMap, HashSet, hash_map::Entry},
    sync::Arc,
};

use tokio::time::Instant;

use tidegate_core::plan::ClusterShare;

use super::{FORGET_AFTER, MAX_NAMED};

/// The names of the sets of proxies that a cluster is on; empty if that is not known, which stands for any.
pub(super) type ProxySetNames = Arc<[Arc<str>]>;

/// The clusters that are kept, by the names of their series, with ids from 0 on.
///
/// Envoy cuts the label `envoy_cluster_name` at the first dot of a cluster's name and moves the rest into the name of the
/// metric, where only letters, digits and underscores stay (seen with Envoy 1.40): `httproute/shop/api.v1/rule/0` comes as
/// `envoy_cluster_v1_rule_0_upstream_rq_total{envoy_cluster_name="httproute/shop/api"}`. So the series of a name with dots
/// is called by the label, a dot and that rest: `httproute/shop/api.v1_rule_0`. Two clusters whose names differ in such
/// characters only cannot be told apart; both are given the sum.
#[derive(Debug, Default, Clone)]
pub struct Series {
    /// Read once for each line of each proxy's answer, so that the hash is a fast one
    ids: HashMap<Box<str>, Id, foldhash::fast::RandomState>,
    generation: u64,
}

/// The id of a series, and the meaning of the cluster's name when the id was given.
#[derive(Debug, Clone, Copy)]
struct Id {
    id: u32,
    meaning: u64,
}

/// A cluster to keep.
#[derive(Debug, Clone)]
pub(super) struct Kept<'a> {
    pub(super) name: &'a str,
    pub(super) fleets: ProxySetNames,
    /// The meaning of the name: with another meaning it is another cluster
    pub(super) meaning: u64,
}

impl Series {
    /// Creates the series of these clusters, with ids in their order.
    pub fn of<'a>(clusters: impl IntoIterator<Item = &'a str>) -> Self {
        let mut series = Self::default();
        let kept = clusters.into_iter().map(|name| Kept { name, fleets: [].into(), meaning: 0 });
        series.keep(kept, &mut Ids::default());
        series
    }

    /// Returns the id of a series.
    pub fn id(&self, series: &str) -> Option<u32> {
        self.ids.get(series).map(|known| known.id)
    }

    /// Returns the id of a cluster by its own name.
    pub fn of_cluster(&self, cluster: &str) -> Option<u32> {
        match series_name(cluster) {
            Some(series) => self.id(&series),
            None => self.id(cluster),
        }
    }

    /// Returns the number of series.
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

    /// Returns the number of changes to the kept clusters: at each, an id may be given to another cluster.
    pub(super) fn generation(&self) -> u64 {
        self.generation
    }

    /// Iterates over names and ids.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, u32)> {
        self.ids.iter().map(|(name, known)| (name.as_ref(), known.id))
    }

    /// Keeps only these clusters. If clusters share a series, the first one's meaning applies.
    pub(super) fn keep<'a>(&mut self, clusters: impl Iterator<Item = Kept<'a>>, ids: &mut Ids) -> Change {
        let mut change = Change::default();
        let mut now = HashMap::with_capacity_and_hasher(self.ids.len(), foldhash::fast::RandomState::default());
        for Kept { name, fleets, meaning } in clusters {
            let series = series_name(name).map_or_else(|| Box::from(name), String::into_boxed_str);
            if let Entry::Vacant(entry) = now.entry(series) {
                let same = |known: &Id| known.meaning == meaning;
                let known = self.ids.get(entry.key()).copied().filter(same);
                if known.is_some() {
                    self.ids.remove(entry.key());
                }
                let id = known.map_or_else(|| ids.take(), |known| known.id);
                if known.is_none() {
                    change.added.insert(id);
                }
                change.kept.push((id, fleets));
                entry.insert(Id { id, meaning });
            }
        }
        change.removed.extend(self.ids.drain().map(|(_, known)| known.id));
        ids.free.extend(&change.removed);
        self.ids = now;
        self.generation += u64::from(!change.added.is_empty() || !change.removed.is_empty());
        change
    }
}

/// The result of [`Series::keep`].
#[derive(Debug, Default)]
pub(super) struct Change {
    /// All clusters that are kept now, with the proxies that may report each
    pub(super) kept: Vec<(u32, ProxySetNames)>,
    pub(super) added: HashSet<u32>,
    pub(super) removed: Vec<u32>,
}

/// Allocator of dense ids.
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

/// Returns the series of a cluster whose name has dots; `None` if the series has the cluster's own name.
fn series_name(cluster: &str) -> Option<String> {
    let (label, rest) = cluster.split_once('.')?;
    let rest = rest.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '_' });
    Some(label.chars().chain(['.']).chain(rest).collect())
}

/// The clusters that the Plan and hand-written triggers name.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    planned: BTreeMap<Arc<str>, Planned>,
    /// When each was last asked for
    named: HashMap<Box<str>, Instant>,
    changed: bool,
}

/// The Plan's data about a cluster.
#[derive(Debug, Clone, Default, PartialEq)]
struct Planned {
    fleets: ProxySetNames,
    meaning: u64,
}

impl Planned {
    /// A cluster that several rules lead to is on all their proxies.
    fn add(&mut self, fleets: &ProxySetNames) {
        if fleets.iter().any(|fleet| !self.fleets.contains(fleet)) {
            let more = fleets.iter().filter(|fleet| !self.fleets.contains(fleet));
            self.fleets = self.fleets.iter().chain(more).cloned().collect();
        }
    }
}

impl Wanted {
    /// Keeps the clusters of these shares, and the traffic of the listeners of these sets of proxies.
    pub(super) fn plan<'a>(
        &mut self,
        shares: impl Iterator<Item = &'a ClusterShare>,
        fleets: impl Iterator<Item = &'a Arc<str>>,
    ) {
        let mut planned = BTreeMap::<Arc<str>, Planned>::new();
        for share in shares {
            for name in std::iter::once(&share.cluster).chain(&share.split) {
                let fresh = || Planned { fleets: Arc::clone(&share.fleets), meaning: share.meaning };
                planned.entry(Arc::clone(name)).or_insert_with(fresh).add(&share.fleets);
            }
        }
        for fleet in fleets {
            let own = Planned { fleets: [Arc::clone(fleet)].into(), meaning: 0 };
            planned.insert(Arc::clone(fleet), own);
        }
        self.changed |= self.planned != planned;
        self.planned = planned;
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

    /// Returns the names to keep, if they changed since the last call.
    pub(super) fn take_changes(&mut self, now: Instant) -> Option<impl Iterator<Item = Kept<'_>>> {
        let before = self.named.len();
        self.named.retain(|_, asked| now.duration_since(*asked) < FORGET_AFTER);
        let changed = std::mem::take(&mut self.changed) || before != self.named.len();
        changed.then(|| {
            let planned = self.planned.iter().map(|(name, Planned { fleets, meaning })| Kept {
                name: name.as_ref(),
                fleets: Arc::clone(fleets),
                meaning: *meaning,
            });
            let named = self.named.keys().map(|name| Kept { name: name.as_ref(), fleets: [].into(), meaning: 0 });
            planned.chain(named)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::share;

    impl<'a> Kept<'a> {
        /// On any proxy, and with this meaning.
        pub(in crate::store) fn meaning(name: &'a str, meaning: u64) -> Self {
            Self { name, fleets: [].into(), meaning }
        }
    }

    fn keep(series: &mut Series, names: &[&str], ids: &mut Ids) -> (Vec<u32>, Vec<u32>) {
        let change = series.keep(names.iter().map(|name| Kept::meaning(name, 0)), ids);
        (change.added.into_iter().collect(), change.removed)
    }

    #[test]
    fn a_name_with_dots_is_found_as_envoy_writes_it() {
        let series = Series::of([
            "httproute/ns/my.route-x.v1/rule/0",
            "tcproute/ns/tcp.refused/rule/-1",
            "httproute/ns/plain/rule/0",
        ]);
        assert_eq!(series.id("httproute/ns/my.route_x_v1_rule_0"), Some(0));
        assert_eq!(series.id("tcproute/ns/tcp.refused_rule__1"), Some(1));
        assert_eq!(series.of_cluster("httproute/ns/my.route-x.v1/rule/0"), Some(0));
        assert_eq!(series.of_cluster("httproute/ns/plain/rule/0"), Some(2));
        assert_eq!(series.of_cluster("httproute/ns/my"), None);
    }

    #[test]
    fn names_that_envoy_makes_alike_share_a_series() {
        let series = Series::of(["r/a.b.c", "r/a.b-c"]);
        assert_eq!((series.len(), series.of_cluster("r/a.b.c")), (1, series.of_cluster("r/a.b-c")));
    }

    #[test]
    fn ids_stay_while_a_cluster_is_kept_and_are_used_again_after() {
        let (mut series, mut ids) = (Series::default(), Ids::default());
        keep(&mut series, &["a", "b"], &mut ids);
        assert_eq!(keep(&mut series, &["b", "c"], &mut ids), (vec![2], vec![0]));
        assert_eq!(keep(&mut series, &["b", "c", "d"], &mut ids), (vec![0], vec![]));
        assert_eq!((series.id("b"), series.generation()), (Some(1), 3));
        keep(&mut series, &["d", "c", "b", "b"], &mut ids);
        assert_eq!(series.generation(), 3);
    }

    #[test]
    fn a_name_that_stands_for_something_else_is_another_cluster() {
        let (mut series, mut ids) = (Series::default(), Ids::default());
        series.keep([Kept::meaning("rule/0", 1), Kept::meaning("rule/1", 2)].into_iter(), &mut ids);
        let change = series.keep([Kept::meaning("rule/0", 1), Kept::meaning("rule/1", 1)].into_iter(), &mut ids);
        assert_eq!((change.added.contains(&2), change.removed.as_slice()), (true, &[1][..]));
        assert_eq!((series.id("rule/0"), series.id("rule/1"), series.generation()), (Some(0), Some(2), 2));
    }

    #[test]
    fn a_cluster_that_several_routes_lead_to_is_on_all_their_proxies() {
        let on = |fleet: &str| ClusterShare { fleets: [Arc::from(fleet)].into(), ..share("web") };
        let mut wanted = Wanted::default();
        wanted.plan([on("gateway/a/a"), on("gateway/b/b"), on("gateway/a/a")].iter(), [].iter());
        let kept: Vec<_> = wanted.take_changes(Instant::now()).unwrap().collect();
        assert_eq!((kept.len(), &*kept[0].fleets), (1, &[Arc::from("gateway/a/a"), Arc::from("gateway/b/b")][..]));
    }

    #[test]
    fn a_named_cluster_is_forgotten_when_nobody_asks_for_it() {
        let (mut wanted, start) = (Wanted::default(), Instant::now());
        wanted.plan([share("planned")].iter(), [].iter());
        wanted.name("named", start);
        let mut names = |after| {
            let names = wanted.take_changes(start + after);
            names.map(|names| names.map(|kept| kept.name.to_owned()).collect::<Vec<_>>().join(" "))
        };
        assert_eq!(names(FORGET_AFTER / 2).as_deref(), Some("httproute/shop/planned/rule/0 named"));
        assert_eq!(names(FORGET_AFTER / 2), None);
        assert_eq!(names(FORGET_AFTER).as_deref(), Some("httproute/shop/planned/rule/0"));
    }

    #[test]
    fn no_more_names_are_taken_than_there_is_room_for() {
        let (mut wanted, now) = (Wanted::default(), Instant::now());
        (0..MAX_NAMED + 5).for_each(|n| wanted.name(&n.to_string(), now));
        assert!(wanted.is_full());
        assert_eq!(wanted.take_changes(now).unwrap().count(), MAX_NAMED);
    }
}
