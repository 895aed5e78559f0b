//! Events, each told once: when it has become true, and again only after it was not.
//!
//! kube's `Recorder` folds events of one reason into the first of them and drops the later texts, but two annotations can
//! be wrong in two ways. So events are written here, under names that are made of what they say: a restart, or another
//! replica that leads, finds the event there and adds no second one.

use std::{
    collections::{HashMap, HashSet},
    fmt::Display,
    hash::Hash,
    time::Duration,
};

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
use tidegate_core::hash::fnv1a_64;
use tokio::time::{Instant, timeout};

use crate::writer::{Unwritten, Writer};

/// The API server takes notes of up to 1 kB.
const LONGEST_NOTE: usize = 1000;
const DEADLINE: Duration = Duration::from_secs(5);
/// What is still arriving (a Deployment and its route are applied one after the other) is no news.
const SETTLE: Duration = Duration::from_secs(10);

/// One thing that the owner of an object should know; it is displayed as the event's text.
pub trait Notice: Clone + Eq + Hash + Display {
    /// The reason of the event.
    fn reason(&self) -> &'static str;

    /// Whether something is wrong, rather than worth knowing.
    fn is_warning(&self) -> bool;

    /// Whether it is often true for a moment only, while things are still being applied.
    fn may_pass(&self) -> bool {
        false
    }
}

/// Tells the owners of objects what they should know.
pub struct Events<N> {
    writer: Writer,
    instance: String,
    /// What is true of each object: since when, and whether it was told
    known: HashMap<String, HashMap<N, State>>,
}

#[derive(Clone, Copy)]
struct State {
    since: Instant,
    told: bool,
}

impl<N: Notice> Events<N> {
    /// Events reported by this pod.
    pub fn new(writer: Writer, instance: &str) -> Self {
        Self { writer, instance: instance.to_owned(), known: HashMap::new() }
    }

    /// All that is true of an object now; what is new is told. Returns how many events were written, and whether some have
    /// yet to be.
    pub async fn tell(&mut self, object: &ObjectReference, notices: &[N]) -> (u64, bool) {
        let now = Instant::now();
        let known = self.known.entry(key(object)).or_default();
        known.retain(|notice, _| notices.contains(notice));
        for notice in notices {
            known.entry(notice.clone()).or_insert(State { since: now, told: false });
        }
        let due: Vec<_> = known.iter().filter(|(notice, state)| !state.told && is_due(*notice, state, now)).collect();
        let due: Vec<_> = due.into_iter().map(|(notice, _)| notice.clone()).collect();
        let mut written = 0;
        for notice in due {
            match timeout(DEADLINE, self.writer.write(self.write(object, &notice))).await {
                Ok(Ok(())) => {
                    written += 1;
                    if let Some(state) = self.known.get_mut(&key(object)).and_then(|known| known.get_mut(&notice)) {
                        state.told = true;
                    }
                }
                Ok(Err(Unwritten::NotLeading)) => break,
                // It is tried again in the next round.
                Ok(Err(error)) => tracing::warn!(%error, object = key(object), "cannot write an event"),
                Err(_) => tracing::warn!(object = key(object), "cannot write an event: no answer within {DEADLINE:?}"),
            }
        }
        let pending = self.known.get(&key(object)).is_some_and(|known| known.values().any(|state| !state.told));
        if notices.is_empty() {
            self.known.remove(&key(object));
        }
        (written, pending)
    }

    /// Whether this replica leads at this moment.
    pub(crate) fn may_write(&self) -> bool {
        self.writer.may_write()
    }

    /// Forgets objects that are gone.
    pub fn keep(&mut self, objects: &HashSet<String>) {
        self.known.retain(|object, _| objects.contains(object));
    }

    async fn write(&self, object: &ObjectReference, notice: &N) -> Result<(), kube::Error> {
        let mut note = notice.to_string();
        note.truncate(note.floor_char_boundary(LONGEST_NOTE));
        let now = MicroTime(Timestamp::now());
        // Events of objects without a namespace are kept in `default`, where `kubectl describe` finds them.
        let namespace = object.namespace.as_deref().unwrap_or("default");
        let name = event_name(object, notice.reason(), &note);
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
            reason: Some(notice.reason().to_owned()),
            regarding: Some(object.clone()),
            reporting_controller: Some("tidegate".to_owned()),
            reporting_instance: Some(self.instance.clone()),
            type_: Some(if notice.is_warning() { "Warning" } else { "Normal" }.to_owned()),
            ..Event::default()
        };
        match api.create(&PostParams::default(), &event).await {
            // Told before, and true again: shown as seen once more.
            Err(kube::Error::Api(status)) if status.code == 409 => {
                let again = json!({ "series": { "count": 2, "lastObservedTime": now } });
                api.patch(&name, &PatchParams::default(), &Patch::Merge(again)).await.map(drop)
            }
            created => created.map(drop),
        }
    }
}

fn is_due<N: Notice>(notice: &N, state: &State, now: Instant) -> bool {
    !notice.may_pass() || now.duration_since(state.since) >= SETTLE
}

/// What stands for an object here.
pub fn key(object: &ObjectReference) -> String {
    let text = |field: &Option<String>| field.clone().unwrap_or_default();
    format!("{}/{}/{}", text(&object.kind), text(&object.namespace), text(&object.name))
}

/// As the API server's own names of events: the object's name, a dot, and 16 hexadecimal digits.
fn event_name(object: &ObjectReference, reason: &str, note: &str) -> String {
    let parts = [object.uid.as_deref().unwrap_or_default(), object.kind.as_deref().unwrap_or_default(), reason, note];
    let name = object.name.as_deref().unwrap_or("unknown");
    format!("{}.{:016x}", &name[..name.floor_char_boundary(200)], fnv1a_64(&parts.join("\0")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_has_the_same_name_in_every_version() {
        let object = ObjectReference { name: Some("api".to_owned()), ..ObjectReference::default() };
        assert_eq!(event_name(&object, "Paused", "nothing is done"), "api.57f7503de21f6152");
    }
}
