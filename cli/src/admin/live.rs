//! The fleet as server-sent events: all rows first, then every two seconds those that have changed.

use std::{collections::BTreeMap, convert::Infallible, sync::Arc, time::Duration};

use axum::{
    Extension,
    extract::State,
    http::StatusCode,
    response::{
        IntoResponse, Response,
        sse::{Event, Sse},
    },
};
use futures::stream;
use serde::Serialize;
use tidegate_scaler::overview::{Overview, OverviewRow};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task::spawn_blocking,
    time::sleep,
};

use super::{Admin, deadline::Deadline};

/// Between two events.
const EVERY: Duration = Duration::from_secs(2);
/// Most streams at one time: each compares all rows at each event.
const MOST: usize = 16;

/// The places of readers.
pub(crate) struct Streams(Arc<Semaphore>);

impl Default for Streams {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(MOST)))
    }
}

/// What an event brings.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Rows<'a> {
    /// Whether these are all rows: what was there before does not apply any more
    all: bool,
    at: chrono::DateTime<chrono::Utc>,
    changed: Vec<&'a OverviewRow>,
    /// `NAMESPACE/KIND/NAME` of each that is not there any more
    gone: Vec<String>,
}

/// One reader's stream.
struct Stream {
    admin: Arc<Admin>,
    told: Option<Arc<Overview>>,
    deadline: Deadline,
    _place: OwnedSemaphorePermit,
}

pub(super) async fn live(State(admin): State<Arc<Admin>>, Extension(deadline): Extension<Deadline>) -> Response {
    let Ok(place) = Arc::clone(&admin.streams.0).try_acquire_owned() else {
        return (StatusCode::TOO_MANY_REQUESTS, format!("{MOST} pages are open: close one\n")).into_response();
    };
    let stream = Stream { admin, told: None, deadline, _place: place };
    let events = stream::unfold(stream, |mut stream| async {
        let event = stream.next().await;
        Some((Ok::<_, Infallible>(event), stream))
    });
    Sse::new(events).into_response()
}

impl Stream {
    /// hyper asks for the next event only once the reader has taken the ones before, so each of them moves the deadline.
    async fn next(&mut self) -> Event {
        self.deadline.extend();
        if self.told.is_some() {
            sleep(EVERY).await;
        }
        let Ok(plan) = self.admin.plan() else {
            self.told = None;
            sleep(EVERY).await;
            return Event::default().comment("the cluster is not known yet");
        };
        let (admin, told) = (Arc::clone(&self.admin), self.told.clone());
        let made = spawn_blocking(move || {
            let overview = admin.overviews.get(&plan, &admin.demands, &admin.history);
            let event = Rows::between(told.as_deref(), &overview).event();
            (overview, event)
        });
        match made.await {
            Ok((overview, event)) => {
                self.told = Some(overview);
                event
            }
            Err(error) => Event::default().comment(error.to_string()),
        }
    }
}

impl<'a> Rows<'a> {
    fn between(told: Option<&Overview>, now: &'a Overview) -> Self {
        let before: BTreeMap<_, _> = told.into_iter().flat_map(Overview::rows).map(|row| (key(row), row)).collect();
        let after: BTreeMap<_, _> = now.rows().map(|row| (key(row), row)).collect();
        let is_new = |(key, row): &(&Key<'_>, &&OverviewRow)| before.get(*key).is_none_or(|told| told != *row);
        let changed = after.iter().filter(is_new).map(|(_, row)| *row).collect();
        let gone = before.keys().filter(|key| !after.contains_key(*key));
        let gone = gone.map(|(namespace, kind, name)| format!("{namespace}/{kind}/{name}")).collect();
        Self { all: told.is_none(), at: now.at, changed, gone }
    }

    fn event(&self) -> Event {
        let event = Event::default().event("rows");
        event.json_data(self).unwrap_or_else(|error| Event::default().comment(error.to_string()))
    }
}

type Key<'a> = (&'a str, &'a str, &'a str);

fn key(row: &OverviewRow) -> Key<'_> {
    (&row.namespace, &row.kind, &row.name)
}
