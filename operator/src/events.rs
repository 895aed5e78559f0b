//! Events, each told once: when it becomes true, and again only after it was not.

use std::collections::{HashMap, HashSet};

use k8s_openapi::api::core::v1::ObjectReference;
use kube::{
    Client,
    runtime::events::{Event, EventType, Recorder, Reporter},
};

use crate::workloads::Notice;

/// The API server takes notes of up to 1 kB.
const LONGEST_NOTE: usize = 1000;

/// Tells the owners of objects what they should know.
pub struct Events {
    recorder: Recorder,
    /// What is true of each object, and was told
    told: HashMap<String, HashSet<Notice>>,
}

impl Events {
    /// Events reported by this pod.
    pub fn new(client: Client, instance: &str) -> Self {
        let reporter = Reporter { controller: "tidegate".to_owned(), instance: Some(instance.to_owned()) };
        Self { recorder: Recorder::new(client, reporter), told: HashMap::new() }
    }

    /// All that is true of an object now; what was not true before is told.
    pub async fn tell(&mut self, object: &ObjectReference, notices: &[Notice]) -> u64 {
        let told = self.told.entry(key(object)).or_default();
        told.retain(|notice| notices.contains(notice));
        let mut published = 0;
        for notice in notices {
            if told.contains(notice) {
                continue;
            }
            let mut note = notice.to_string();
            note.truncate(note.floor_char_boundary(LONGEST_NOTE));
            let event = Event {
                type_: if notice.is_warning() { EventType::Warning } else { EventType::Normal },
                reason: notice.reason().to_owned(),
                note: Some(note),
                action: "Scaling".to_owned(),
                secondary: None,
            };
            match self.recorder.publish(&event, object).await {
                Ok(()) => {
                    told.insert(notice.clone());
                    published += 1;
                }
                // It is told in the next round.
                Err(error) => tracing::warn!(%error, object = key(object), "cannot write an event"),
            }
        }
        if told.is_empty() {
            self.told.remove(&key(object));
        }
        published
    }

    /// Forgets objects that are gone.
    pub fn keep(&mut self, objects: &HashSet<String>) {
        self.told.retain(|object, _| objects.contains(object));
    }
}

/// What stands for an object here.
pub fn key(object: &ObjectReference) -> String {
    let text = |field: &Option<String>| field.clone().unwrap_or_default();
    format!("{}/{}/{}", text(&object.kind), text(&object.namespace), text(&object.name))
}
