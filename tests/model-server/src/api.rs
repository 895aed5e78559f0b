//! The API of one replica: chat completions, the list of models, health and metrics.

use std::{
    collections::HashMap,
    convert::Infallible,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use axum::{
    Json, Router,
    extract::State,
    http::{HeaderMap, StatusCode, header::AUTHORIZATION},
    response::{
        IntoResponse, Response,
        sse::{Event, Sse},
    },
    routing::{get, post},
};
use futures::{Stream, StreamExt, stream};
use serde_json::json;
use tokio::{
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    time::{MissedTickBehavior, interval},
};

use crate::{
    completions::{Request, Usage, answer, chunk, usage_chunk},
    engine::{Engine, Limits, Progress},
    vllm,
};

/// Time between two steps of the engine, and between two pieces of a stream.
const STEP: Duration = Duration::from_millis(20);

/// What a replica serves, and how.
pub(crate) struct Served {
    /// The names of its model; metrics have the first
    pub(crate) models: Vec<String>,
    /// Requests that may wait
    pub(crate) queue: usize,
    /// The key that requests must have
    pub(crate) api_key: Option<String>,
    /// Whether it answers 500 to every request
    pub(crate) down: bool,
}

/// One replica that serves a model.
struct Replica {
    served: Served,
    inside: Mutex<Inside>,
}

struct Inside {
    engine: Engine,
    listeners: HashMap<u64, UnboundedSender<Progress>>,
}

pub(crate) fn router(served: Served, limits: Limits) -> Router {
    let inside = Inside { engine: Engine::new(limits), listeners: HashMap::new() };
    let replica = Arc::new(Replica { served, inside: Mutex::new(inside) });
    tokio::spawn(run(Arc::clone(&replica)));
    Router::new()
        .route("/health", get(|| async {}))
        .route("/metrics", get(metrics))
        .route("/v1/models", get(models))
        .route("/v1/chat/completions", post(complete))
        .with_state(replica)
}

impl Served {
    fn admits(&self, headers: &HeaderMap) -> bool {
        let given = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
        self.api_key.as_deref().is_none_or(|key| given == Some(key))
    }
}

impl Replica {
    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Advances the engine by the time that has passed, again and again, for as long as the replica lives.
async fn run(replica: Arc<Replica>) {
    let mut steps = interval(STEP);
    steps.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut last = Instant::now();
    loop {
        steps.tick().await;
        let now = Instant::now();
        let mut inside = replica.inside();
        let all = inside.engine.step(now.duration_since(last).as_secs_f64());
        last = now;
        for progress in all {
            if let Some(listener) = inside.listeners.get(&progress.id) {
                // A listener that has gone is removed when its `Running` is dropped.
                let _ = listener.send(progress);
            }
        }
    }
}

/// A request in the engine; it is aborted when its client leaves.
struct Running {
    replica: Arc<Replica>,
    id: u64,
    model: String,
    input: u64,
    progress: UnboundedReceiver<Progress>,
}

impl Drop for Running {
    fn drop(&mut self) {
        let mut inside = self.replica.inside();
        inside.engine.abort(self.id);
        inside.listeners.remove(&self.id);
    }
}

async fn complete(State(replica): State<Arc<Replica>>, headers: HeaderMap, Json(request): Json<Request>) -> Response {
    if replica.served.down {
        return refusal(StatusCode::INTERNAL_SERVER_ERROR, "InternalServerError", "this server is down");
    }
    if !replica.served.admits(&headers) {
        return refusal(StatusCode::UNAUTHORIZED, "AuthenticationError", "this is not the key");
    }
    if !replica.served.models.contains(&request.model) {
        let message = format!("The model `{}` does not exist.", request.model);
        return refusal(StatusCode::NOT_FOUND, "NotFoundError", &message);
    }
    let work = request.work();
    let input = work.input;
    let (listener, progress) = unbounded_channel();
    let id = {
        let mut inside = replica.inside();
        if inside.engine.waiting() >= replica.served.queue {
            return refusal(StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable", "the queue is full");
        }
        let id = inside.engine.submit(work);
        inside.listeners.insert(id, listener);
        id
    };
    let wants_usage = request.wants_usage();
    let running = Running { replica: Arc::clone(&replica), id, model: request.model, input, progress };
    if request.stream {
        return Sse::new(streamed(running, wants_usage)).into_response();
    }
    let model = running.model.clone();
    Json(answer(id, &model, whole(running).await)).into_response()
}

async fn whole(mut running: Running) -> Usage {
    let mut usage = Usage { input: running.input, ..Usage::default() };
    while let Some(progress) = running.progress.recv().await {
        usage.output += progress.tokens;
        usage.cached = progress.cached;
        if progress.done {
            break;
        }
    }
    usage
}

fn streamed(running: Running, wants_usage: bool) -> impl Stream<Item = Result<Event, Infallible>> {
    let usage = Usage { input: running.input, ..Usage::default() };
    let pieces = stream::unfold(Some((running, usage)), move |state| async move {
        let (mut running, mut usage) = state?;
        let progress = running.progress.recv().await?;
        usage.output += progress.tokens;
        usage.cached = progress.cached;
        let (id, model) = (running.id, &running.model);
        let mut pieces = vec![chunk(id, model, progress.tokens, progress.done)];
        if !progress.done {
            return Some((pieces, Some((running, usage))));
        }
        if wants_usage {
            pieces.push(usage_chunk(id, model, usage));
        }
        pieces.push("[DONE]".to_owned());
        Some((pieces, None))
    });
    pieces.flat_map(stream::iter).map(|data| Ok(Event::default().data(data)))
}

async fn models(State(replica): State<Arc<Replica>>) -> Response {
    let model = |name: &String| json!({"id": name, "object": "model", "owned_by": "simulator"});
    let models: Vec<_> = replica.served.models.iter().map(model).collect();
    Json(json!({"object": "list", "data": models})).into_response()
}

async fn metrics(State(replica): State<Arc<Replica>>) -> String {
    let name = replica.served.models.first().map_or("", String::as_str);
    vllm::page(&replica.inside().engine, name)
}

fn refusal(status: StatusCode, kind: &str, message: &str) -> Response {
    let code = status.as_u16();
    (status, Json(json!({"error": {"message": message, "type": kind, "code": code}}))).into_response()
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;

    use axum::{body::Body, http};
    use http_body_util::BodyExt;
    use serde_json::Value;
    use tower::ServiceExt;

    use super::*;

    fn replica() -> Router {
        serving(Served { models: vec!["m".to_owned()], queue: 10, api_key: None, down: false })
    }

    fn serving(served: Served) -> Router {
        let limits = Limits {
            prefill: 1e6,
            decode: 10_000.0,
            decode_each: 1_000.0,
            sequences: 8,
            kv_cache: 100_000,
            prefixes: NonZeroUsize::new(10).unwrap(),
            block: 512,
        };
        router(served, limits)
    }

    async fn post(app: &Router, body: Value) -> (StatusCode, String) {
        let request = http::Request::post("/v1/chat/completions")
            .header("content-type", "application/json")
            .body(Body::from(body.to_string()))
            .unwrap();
        text(app.clone().oneshot(request).await.unwrap()).await
    }

    async fn text(response: Response) -> (StatusCode, String) {
        let status = response.status();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn an_answer_says_what_it_used() {
        let app = replica();
        let simulate = json!({"input_tokens": 600, "output_tokens": 30, "prefix_blocks": [1]});
        for cached in [0, 512] {
            let (status, body) = post(&app, json!({"model": "m", "messages": [], "simulate": simulate})).await;
            let body: Value = serde_json::from_str(&body).unwrap();
            assert_eq!(status, StatusCode::OK);
            assert_eq!(
                body["usage"],
                json!({"prompt_tokens": 600, "completion_tokens": 30, "total_tokens": 630,
                       "prompt_tokens_details": {"cached_tokens": cached}})
            );
        }
    }

    #[tokio::test]
    async fn a_stream_comes_in_pieces_and_its_usage_last() {
        let request = json!({"model": "m", "messages": [{"role": "user", "content": "Why seven replicas?"}],
            "max_tokens": 50, "stream": true, "stream_options": {"include_usage": true}});
        let (status, body) = post(&replica(), request).await;
        assert_eq!(status, StatusCode::OK);
        let pieces: Vec<_> = body.lines().filter_map(|line| line.strip_prefix("data: ")).collect();
        let [.., last, usage, "[DONE]"] = &pieces[..] else { panic!("{pieces:?}") };
        assert!(pieces.len() > 3, "50 tokens at 1,000 a second take more than one step: {pieces:?}");
        assert_eq!(serde_json::from_str::<Value>(last).unwrap()["choices"][0]["finish_reason"], "stop");
        assert_eq!(serde_json::from_str::<Value>(usage).unwrap()["usage"]["total_tokens"], 53);
    }

    #[tokio::test]
    async fn another_model_is_not_found() {
        let (status, body) = post(&replica(), json!({"model": "gpt", "messages": []})).await;
        assert_eq!((status, body.contains("The model `gpt` does not exist.")), (StatusCode::NOT_FOUND, true));
    }

    #[tokio::test]
    async fn a_model_of_two_names_answers_by_both_and_one_that_is_down_by_none() {
        let models = ["m", "n"].map(str::to_owned).to_vec();
        let served = |down: bool| Served { models: models.clone(), queue: 10, api_key: None, down };
        for (name, down, wanted) in [("n", false, 200), ("m", false, 200), ("m", true, 500)] {
            let (status, body) = post(&serving(served(down)), json!({"model": name, "max_tokens": 1})).await;
            assert_eq!(status.as_u16(), wanted, "{body}");
            assert!(down || body.contains(&format!("\"model\":\"{name}\"")), "{body}");
        }
    }

    #[tokio::test]
    async fn a_request_without_the_key_is_refused() {
        let app =
            serving(Served { models: vec!["m".to_owned()], queue: 10, api_key: Some("k".to_owned()), down: false });
        for (key, wanted) in [("Bearer k", 200), ("Bearer other", 401), ("k", 401)] {
            let request = http::Request::post("/v1/chat/completions").header("content-type", "application/json");
            let request = request.header("authorization", key);
            let body = Body::from(json!({"model": "m", "max_tokens": 1}).to_string());
            let (status, body) = text(app.clone().oneshot(request.body(body).unwrap()).await.unwrap()).await;
            assert_eq!(status.as_u16(), wanted, "{key}: {body}");
        }
    }

    #[tokio::test]
    async fn its_metrics_are_named_as_those_of_vllm() {
        let app = replica();
        post(&app, json!({"model": "m", "simulate": {"input_tokens": 7, "output_tokens": 3}})).await;
        let request = http::Request::get("/metrics").body(Body::empty()).unwrap();
        let (_, page) = text(app.oneshot(request).await.unwrap()).await;
        assert!(page.contains("vllm:prompt_tokens_total{engine=\"0\",model_name=\"m\"} 7.0\n"), "{page}");
        assert!(page.contains("vllm:generation_tokens_total{engine=\"0\",model_name=\"m\"} 3.0\n"), "{page}");
    }
}
