//! Models for tests: simulated servers, routes of Envoy AI Gateway to them, and requests.
//!
//! Kubernetes, Envoy, Envoy Gateway and Envoy AI Gateway with its side-car are real, and so is the load. What answers is a
//! simulator, except where a test starts llama.cpp's server.

use std::{
    iter::repeat_with,
    net::SocketAddr,
    sync::{Arc, OnceLock},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use futures::{FutureExt, future::join_all};
use http_body_util::{BodyExt, Full};
use hyper::{Method, Request, StatusCode};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde_json::{Value, json};
use tidegate_sim::traces::Prompt;
use tidegate_stack::Stack;
use tokio::{
    task::{JoinHandle, JoinSet},
    time::{MissedTickBehavior, interval, sleep, timeout},
};

use crate::{
    kubectl::get,
    scenario::{Scenario, deployment_head, owner},
};

/// Pause after a request that failed.
const SHORTLY: Duration = Duration::from_millis(100);
/// The longest time that a stream may take.
const LONGEST: Duration = Duration::from_secs(600);

/// The Gateway of models, named `ai`.
pub fn ai_gateway() -> String {
    "---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: ai}
spec:
  gatewayClassName: eg
  listeners: [{name: http, protocol: HTTP, port: 8080}]
"
    .to_owned()
}

/// A Deployment of the simulator with these arguments, and a headless Service of the same name.
pub fn model_server(name: &str, annotations: &[(&str, &str)], args: &[&str]) -> String {
    let head = deployment_head(name, annotations);
    let args = args.iter().fold(String::new(), |all, arg| all + ", " + arg);
    format!(
        "{head}
      terminationGracePeriodSeconds: 30
      containers:
        - name: model
          image: model-server
          args: [\"--listen=0.0.0.0:8000\", --linger=6s, --drain=20s{args}]
          readinessProbe: {{httpGet: {{path: /health, port: 8000}}, periodSeconds: 1}}
---
apiVersion: v1
kind: Service
metadata: {{name: {name}}}
spec:
  clusterIP: None
  selector: {{app: {name}}}
  ports: [{{name: http, port: 8000}}]
"
    )
}

/// A Deployment of llama.cpp's server with four slots and random weights, which needs no Service to be scaled.
pub fn llama_cpp(name: &str, annotations: &[(&str, &str)]) -> String {
    let head = deployment_head(name, annotations);
    format!(
        "{head}
      containers:
        - name: llama
          image: ghcr.io/ggml-org/llama.cpp:server
          args: [--alias={name}, --host=0.0.0.0, --port=8000, --parallel=4, --ctx-size=16384, --metrics]
          readinessProbe: {{httpGet: {{path: /health, port: 8000}}, periodSeconds: 1}}
"
    )
}

/// An AIGatewayRoute with one rule for one model, its AIServiceBackend and Backend.
pub fn ai_route(namespace: &str, name: &str, model: &str, service: &str) -> String {
    format!(
        "---
apiVersion: aigateway.envoyproxy.io/v1beta1
kind: AIGatewayRoute
metadata: {{name: {name}}}
spec:
  parentRefs: [{{group: gateway.networking.k8s.io, kind: Gateway, name: ai}}]
  rules:
    - matches: [{{headers: [{{type: Exact, name: x-ai-eg-model, value: {model}}}]}}]
      backendRefs: [{{name: {name}}}]
      timeouts: {{request: 600s}}
  llmRequestCosts: [{{metadataKey: total, type: TotalToken}}]
---
apiVersion: aigateway.envoyproxy.io/v1beta1
kind: AIServiceBackend
metadata: {{name: {name}}}
spec:
  schema: {{name: OpenAI}}
  backendRef: {{group: gateway.envoyproxy.io, kind: Backend, name: {name}}}
---
apiVersion: gateway.envoyproxy.io/v1alpha1
kind: Backend
metadata: {{name: {name}}}
spec:
  endpoints: [{{fqdn: {{hostname: {service}.{namespace}.svc.cluster.local, port: 8000}}}}]
"
    )
}

/// The proxies of Gateway `ai`, as seen from outside.
#[derive(Debug, Clone)]
pub struct Entrance {
    namespace: String,
    address: SocketAddr,
}

impl Entrance {
    /// Waits for the Service of the proxies, which are replaced when they get their side-car.
    pub async fn of(scenario: &Scenario, port: u16) -> Result<Self> {
        let namespace = scenario.namespace.clone();
        let address = scenario.service("ai", port).await?;
        Ok(Self { namespace, address })
    }

    /// Kills the side-car of each proxy; it is started again, as a kubelet does.
    pub async fn kill_side_cars(&self) -> Result<()> {
        let pods = get(&["pods", "-A", "-l", &owner("ai", &self.namespace)]).await?;
        let pods = pods["items"].as_array().context("no list of pods")?.iter();
        // A first pod may be there that was made before the route, and has none.
        let with_one = pods.filter(|pod| pod["spec"]["initContainers"][0]["name"] == "ai-gateway-extproc");
        let names = with_one
            .filter(|pod| pod["metadata"]["deletionTimestamp"].is_null())
            .map(|pod| pod["metadata"]["name"].as_str().context("a pod without a name"));
        let stack = Stack::attach()?;
        let names = names.collect::<Result<Vec<_>>>()?;
        ensure!(!names.is_empty(), "no proxy has a side-car");
        for name in names {
            stack.kill(&format!("pod/envoy-gateway-system/{name}/ai-gateway-extproc")).await?;
        }
        Ok(())
    }
}

/// Tokens that one answer used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    pub input: u64,
    pub cached: u64,
    pub output: u64,
}

/// A client of one model behind the Gateway.
#[derive(Debug, Clone)]
pub struct Chat {
    to: SocketAddr,
    model: Arc<str>,
    user: Option<Arc<str>>,
}

impl Chat {
    /// A client that sends requests through this entrance.
    pub fn new(entrance: &Entrance, model: &str) -> Self {
        Self::at(entrance.address, model)
    }

    /// A client of a server itself.
    pub fn at(server: SocketAddr, model: &str) -> Self {
        Self { to: server, model: model.into(), user: None }
    }

    /// The same, with the header `x-user-id`.
    #[must_use]
    pub fn by(&self, user: &str) -> Self {
        Self { user: Some(user.into()), ..self.clone() }
    }

    /// Sends a request for a simulated answer, and reads the stream to its end.
    pub async fn ask(&self, prompt: &Prompt) -> Result<Usage> {
        let body = json!({
            "model": &*self.model, "messages": [{"role": "user", "content": "a"}], "stream": true,
            "stream_options": {"include_usage": true}, "simulate": simulate(prompt),
        });
        let (status, answer) = self.post(&body).await?;
        ensure!(status.is_success(), "{status}: {answer}");
        usage(&answer).with_context(|| format!("an answer without usage: {answer}"))
    }

    /// Sends a request of a few words for an answer of this many tokens, which is not streamed; returns the status, and the name of
    /// the model that has answered.
    pub async fn say(&self, tokens: u64) -> Result<(u16, String)> {
        let (status, answer) = self.post(&self.few_words(tokens, false)).await?;
        let answer: Value = serde_json::from_str(&answer).unwrap_or_default();
        Ok((status.as_u16(), answer["model"].as_str().unwrap_or_default().to_owned()))
    }

    fn few_words(&self, tokens: u64, stream: bool) -> Value {
        let messages = json!([{"role": "user", "content": "Why three replicas?"}]);
        // A model of random weights would end its answer at any token.
        json!({"model": &*self.model, "messages": messages, "max_tokens": tokens, "ignore_eos": true, "stream": stream})
    }

    async fn post(&self, body: &Value) -> Result<(StatusCode, String)> {
        let answer = timeout(LONGEST, post(self.to, self.user.as_deref(), body));
        answer.await.context("an answer that does not end")?
    }

    /// Streams answers of this many tokens at this rate, until the result is dropped.
    pub fn streams(&self, per_second: f64, tokens: u64) -> Talking {
        let body = self.few_words(tokens, true);
        self.repeatedly(per_second, move || body.clone())
    }

    /// Keeps this many requests open for answers of this many tokens, until the result is dropped.
    pub fn keeps_asking(&self, open: usize, tokens: u64) -> Talking {
        let (chat, body) = (self.clone(), self.few_words(tokens, true));
        let asking = repeat_with(move || {
            let (chat, body) = (chat.clone(), body.clone());
            async move {
                loop {
                    let pause = chat.post(&body).await.is_err();
                    sleep(if pause { SHORTLY } else { Duration::ZERO }).await;
                }
            }
        });
        Talking(tokio::spawn(join_all(asking.take(open)).map(drop)))
    }

    /// Sends this many requests per second for simulated answers, until the result is dropped.
    pub fn steadily(&self, per_second: f64, mut next: impl FnMut() -> Prompt + Send + 'static) -> Talking {
        let (model, messages) = (Arc::clone(&self.model), json!([{"role": "user", "content": "a"}]));
        self.repeatedly(
            per_second,
            move || json!({"model": &*model, "messages": messages, "stream": true, "simulate": simulate(&next())}),
        )
    }

    fn repeatedly(&self, per_second: f64, mut next: impl FnMut() -> Value + Send + 'static) -> Talking {
        let chat = self.clone();
        Talking(tokio::spawn(async move {
            let mut ticks = interval(Duration::from_secs_f64(1.0 / per_second));
            ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
            let mut open = JoinSet::new();
            loop {
                ticks.tick().await;
                let (chat, body) = (chat.clone(), next());
                // Requests that fail are load too; tests check the scaler's reaction to it.
                open.spawn(async move { chat.post(&body).await.map(drop) });
                while open.try_join_next().is_some() {}
            }
        }))
    }
}

fn simulate(prompt: &Prompt) -> Value {
    json!({"input_tokens": prompt.input, "output_tokens": prompt.output, "prefix_blocks": prompt.blocks})
}

/// Requests that go on until this is dropped.
#[derive(Debug)]
pub struct Talking(JoinHandle<()>);

impl Drop for Talking {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Usage from the last piece of a stream that reports it.
fn usage(answer: &str) -> Option<Usage> {
    let pieces = answer.lines().rev().filter_map(|line| line.strip_prefix("data: "));
    let usage = pieces.filter_map(|piece| serde_json::from_str::<Value>(piece).ok()).find_map(|piece| {
        let usage = piece.get("usage")?.clone();
        usage.is_object().then_some(usage)
    })?;
    Some(Usage {
        input: usage["prompt_tokens"].as_u64()?,
        cached: usage["prompt_tokens_details"]["cached_tokens"].as_u64()?,
        output: usage["completion_tokens"].as_u64()?,
    })
}

async fn post(to: SocketAddr, user: Option<&str>, body: &Value) -> Result<(StatusCode, String)> {
    static CLIENT: OnceLock<Client<HttpConnector, Full<Bytes>>> = OnceLock::new();
    let client = CLIENT.get_or_init(|| Client::builder(TokioExecutor::new()).build_http());
    let request = Request::builder().method(Method::POST).uri(format!("http://{to}/v1/chat/completions"));
    let request = user.into_iter().fold(request, |request, user| request.header("x-user-id", user));
    let request = request.header("content-type", "application/json").body(Full::from(body.to_string()))?;
    let response = client.request(request).await?;
    let status = response.status();
    let body = response.into_body().collect().await?.to_bytes();
    Ok((status, String::from_utf8_lossy(&body).into_owned()))
}
