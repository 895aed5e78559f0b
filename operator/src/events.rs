//! Events, each written once: when it becomes true, and again only after it was not. A warning is written again each day that it
//! lasts, since the API server forgets events after an hour.
//!
//! kube's `Recorder` folds events of one reason into the first of them and drops the later texts, but two annotations can
//! be wrong in two ways. So events are written here, under names derived from their content: after a restart or a change of
//! leader, the event is found there and no second one is added.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use chrono::Utc;
use k8s_openapi::{
    api::{core::v1::ObjectReference, events::v1::Event},
    apimachinery::pkg::apis::meta::v1::MicroTime,
    jiff::Timestamp,
};
use kube::{
    Api,
    api::{ObjectMeta, Patch, PatchParams, PostParams},
};
use serde_json::json;
use tidegate_cluster::Kind;
use tidegate_core::{event::Notice, hash::fnv1a_64};
use tokio::time::{Instant, timeout};

use crate::{
    problems::{Page, StandingProblem},
    watch::resource::preferred,
    writer::{Unwritten, Writer},
};

/// The longest note that the API server accepts: 1 kB.
const LONGEST_NOTE: usize = 1000;
const DEADLINE: Duration = Duration::from_secs(5);
/// Time after which a warning that lasts is written again.
const AGAIN: Duration = Duration::from_secs(24 * 3600);
/// Time before a problem that may pass by itself is reported: objects may still be arriving (a Deployment and its route are
/// applied one after the other).
const SETTLE: Duration = Duration::from_secs(10);

/// Writes events for the owners of objects.
pub struct Events<N> {
    writer: Writer,
    instance: String,
    problems: Page,
    /// The notices that are true of each object: since when, and when each was last written
    known: HashMap<String, HashMap<N, State>>,
}

#[derive(Clone, Copy)]
struct State {
    since: Instant,
    told: Option<Instant>,
}

impl<N: Notice> Events<N> {
    /// Events reported by this pod, whose warnings stand in `problems` for as long as they are true.
    pub(crate) fn new(writer: Writer, instance: &str, problems: Page) -> Self {
        Self { writer, instance: instance.to_owned(), problems, known: HashMap::new() }
    }

    /// Takes all notices that are true now, of every object; writes those that are due, and forgets objects that are not among these.
    /// Returns how many events were written, and whether some have yet to be.
    pub async fn publish_all(&mut self, all: Vec<(ObjectReference, Vec<N>)>) -> (u64, bool) {
        let (mut told, mut pending) = (0, false);
        let objects: HashSet<_> = all.iter().map(|(object, _)| key(object)).collect();
        for (object, notices) in all {
            let (written, more) = self.tell(&object, &notices).await;
            told += written;
            pending |= more;
        }
        self.known.retain(|object, _| objects.contains(object));
        self.note();
        (told, pending)
    }

    /// Notes all warnings that are true now, less those that may be about to pass.
    fn note(&self) {
        let (now, time) = (Instant::now(), Utc::now());
        let of_object = |(object, notices): (&String, &HashMap<N, State>)| {
            let [kind, namespace, name] = parts(object);
            let warnings = notices.iter().filter(|(notice, state)| {
                notice.reason().is_warning() && (state.told.is_some() || has_settled(*notice, state, now))
            });
            let problem = |(notice, state): (&N, &State)| StandingProblem {
                namespace: namespace.to_owned(),
                kind: kind.to_owned(),
                name: name.to_owned(),
                reason: notice.reason().as_str().to_owned(),
                message: notice.to_string(),
                since: Some(time - now.duration_since(state.since)),
            };
            warnings.map(problem).collect::<Vec<_>>()
        };
        self.problems.set(self.known.iter().flat_map(of_object).collect());
    }

    async fn tell(&mut self, object: &ObjectReference, notices: &[N]) -> (u64, bool) {
        let now = Instant::now();
        let known = self.known.entry(key(object)).or_default();
        known.retain(|notice, _| notices.contains(notice));
        for notice in notices {
            known.entry(notice.clone()).or_insert(State { since: now, told: None });
        }
        let due: Vec<_> = known.iter().filter(|(notice, state)| is_due(*notice, state, now)).collect();
        let due: Vec<_> = due.into_iter().map(|(notice, _)| notice.clone()).collect();
        let mut written = 0;
        for notice in due {
            match timeout(DEADLINE, self.writer.write(self.write(object, &notice))).await {
                Ok(Ok(())) => {
                    written += 1;
                    if notice.reason().is_warning() {
                        tracing::warn!(object = key(object), reason = notice.reason().as_str(), "{notice}");
                    }
                    if let Some(state) = self.known.get_mut(&key(object)).and_then(|known| known.get_mut(&notice)) {
                        state.told = Some(now);
                    }
                }
                Ok(Err(Unwritten::NotLeading)) => break,
                // It is tried again in the next round.
                Ok(Err(error)) => tracing::warn!(%error, object = key(object), "cannot write an event"),
                Err(_) => tracing::warn!(object = key(object), "cannot write an event: no answer within {DEADLINE:?}"),
            }
        }
        let pending =
            self.known.get(&key(object)).is_some_and(|known| known.values().any(|state| state.told.is_none()));
        if notices.is_empty() {
            self.known.remove(&key(object));
        }
        (written, pending)
    }

    async fn write(&self, object: &ObjectReference, notice: &N) -> Result<(), kube::Error> {
        let mut note = notice.to_string();
        note.truncate(note.floor_char_boundary(LONGEST_NOTE));
        let now = MicroTime(Timestamp::now());
        // Events of objects without a namespace are kept in `default`, where `kubectl describe` finds them.
        let namespace = object.namespace.as_deref().unwrap_or("default");
        let name = event_name(object, notice.reason().as_str(), &note);
        let api: Api<Event> = Api::namespaced(self.writer.client().clone(), namespace);
        let event = Event {
            metadata: ObjectMeta {
                name: Some(name.clone()),
                namespace: Some(namespace.to_owned()),
                ..ObjectMeta::default()
            },
            action: Some("Scaling".to_owned()),
            event_time: Some(now.clone()),
            note: Some(note),
            reason: Some(notice.reason().as_str().to_owned()),
            regarding: Some(object.clone()),
            reporting_controller: Some("tidegate".to_owned()),
            reporting_instance: Some(self.instance.clone()),
            type_: Some(if notice.reason().is_warning() { "Warning" } else { "Normal" }.to_owned()),
            ..Event::default()
        };
        match api.create(&PostParams::default(), &event).await {
            // Written before, and true again: shown as seen once more.
            Err(kube::Error::Api(status)) if status.code == 409 => {
                let again = json!({ "series": { "count": 2, "lastObservedTime": now } });
                api.patch(&name, &PatchParams::default(), &Patch::Merge(again)).await.map(drop)
            }
            created => created.map(drop),
        }
    }
}

fn is_due<N: Notice>(notice: &N, state: &State, now: Instant) -> bool {
    match state.told {
        Some(told) => notice.reason().is_warning() && now.duration_since(told) >= AGAIN,
        None => has_settled(notice, state, now),
    }
}

/// Whether it is no problem that is about to pass by itself.
fn has_settled<N: Notice>(notice: &N, state: &State, now: Instant) -> bool {
    !notice.reason().may_pass() || now.duration_since(state.since) >= SETTLE
}

/// The object that events are about; `namespace` is empty for a cluster-scoped one.
pub(crate) fn reference(kind: Kind, namespace: &str, name: &str, uid: Option<String>) -> ObjectReference {
    let resource = preferred(kind);
    ObjectReference {
        api_version: Some(resource.api_version),
        kind: Some(resource.kind),
        namespace: (!namespace.is_empty()).then(|| namespace.to_owned()),
        name: Some(name.to_owned()),
        uid,
        ..ObjectReference::default()
    }
}

/// The key of an object.
fn key(object: &ObjectReference) -> String {
    let text = |field: &Option<String>| field.clone().unwrap_or_default();
    format!("{}/{}/{}", text(&object.kind), text(&object.namespace), text(&object.name))
}

/// Kind, namespace and name of a key, none of which contains a slash.
fn parts(key: &str) -> [&str; 3] {
    let mut parts = key.splitn(3, '/');
    [(); 3].map(|()| parts.next().unwrap_or_default())
}

/// The name of an event, in the form of the API server's own: the object's name, a dot, and 16 hexadecimal digits.
fn event_name(object: &ObjectReference, reason: &str, note: &str) -> String {
    let parts = [object.uid.as_deref().unwrap_or_default(), object.kind.as_deref().unwrap_or_default(), reason, note];
    let name = object.name.as_deref().unwrap_or("unknown");
    format!("{}.{:016x}", &name[..name.floor_char_boundary(200)], fnv1a_64(&parts.join("\0")))
}

#[cfg(test)]
mod tests {
    use std::fmt;

    use tidegate_core::event::Reason;
    use tokio::time::advance;

    use super::*;
    use crate::fixture::context;

    #[derive(Debug, Clone, PartialEq, Eq, Hash)]
    struct Word(&'static str, Reason);

    impl fmt::Display for Word {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }
    }

    impl Notice for Word {
        fn reason(&self) -> Reason {
            self.1
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_warning_is_repeated_once_a_day_while_it_lasts_and_all_else_is_said_once() {
        let (_server, term, context) = context();
        let mut events = context.events();
        let object = ObjectReference { name: Some("api".to_owned()), ..ObjectReference::default() };
        let mut told = Vec::new();
        for _ in 0..50 {
            term.begin();
            told.push(events.tell(&object, &[Word("wrong", Reason::NoSignal), Word("news", Reason::Paused)]).await.0);
            advance(Duration::from_secs(3600)).await;
        }
        let written: Vec<_> = told.iter().enumerate().filter(|(_, count)| **count > 0).collect();
        assert_eq!(written, [(0, &2), (24, &1), (48, &1)]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_wrong_stands_in_the_book_for_as_long_as_it_is_and_not_while_it_may_pass() {
        let (_server, term, context) = context();
        let mut events = context.events();
        let object = ObjectReference { name: Some("api".to_owned()), ..ObjectReference::default() };
        let all = [Word("wrong", Reason::NoSignal), Word("young", Reason::NoEnvoyProxy), Word("news", Reason::Paused)];
        let standing = || context.problems.all().into_iter().map(|problem| problem.message).collect::<Vec<_>>();
        term.begin();
        events.publish_all(vec![(object.clone(), all.to_vec())]).await;
        assert_eq!(standing(), ["wrong"]);
        advance(Duration::from_secs(7200)).await;
        term.begin();
        events.publish_all(vec![(object.clone(), all.to_vec())]).await;
        assert_eq!(standing(), ["young", "wrong"], "longer than the API server keeps events");
        let since: Vec<_> = context.problems.all().iter().map(|problem| Utc::now() - problem.since.unwrap()).collect();
        assert!(since.iter().all(|since| since.num_seconds() >= 7199), "{since:?}");
        events.publish_all(vec![(object, vec![Word("news", Reason::Paused)])]).await;
        assert_eq!(standing(), [""; 0]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_replica_that_does_not_lead_any_more_forgets_what_was_wrong_and_the_parts_do_not_forget_for_each_other() {
        let (_server, _term, context) = context();
        let object = |name: &str| ObjectReference { name: Some(name.to_owned()), ..ObjectReference::default() };
        let (mut one, mut other) = (context.events(), context.events());
        let wrong = || vec![Word("wrong", Reason::NoSignal)];
        one.publish_all(vec![(object("api"), wrong())]).await;
        other.publish_all(vec![(object("web"), wrong())]).await;
        assert_eq!(context.problems.all().len(), 2);
        one.publish_all(Vec::new()).await;
        assert_eq!(context.problems.all().len(), 1);
        context.problems.clear();
        assert_eq!(context.problems.all(), []);
    }

    #[test]
    fn an_event_has_the_same_name_in_every_version() {
        let object = ObjectReference { name: Some("api".to_owned()), ..ObjectReference::default() };
        assert_eq!(event_name(&object, "Paused", "nothing is done"), "api.57f7503de21f6152");
    }
}
