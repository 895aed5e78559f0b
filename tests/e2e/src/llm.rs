//! Models for tests: simulated servers, an AI gateway in front of them, and requests.
//!
//! The Gateway's Envoy, the routing and the load are real. Envoy AI Gateway does not run here (it needs a webhook and an external
//! processor of its own), so three of its parts are replaced: the HTTPRoute that its controller generates from an
//! AIGatewayRoute, the side-car beside each Envoy (`model-server gateway-metrics`), and the report of a request to that
//! side-car when its stream has ended.

use std::{
    net::SocketAddr,
    sync::{Arc, OnceLock},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Method, Request};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde_json::{Value, json};
use tidegate_sim::traces::Prompt;
use tokio::{
    task::{JoinHandle, JoinSet},
    time::{Instant, MissedTickBehavior, interval, timeout},
};

use crate::scenario::deployment_head;

/// Port of the side-car's metrics.
const METRICS_PORT: u16 = 1064;
/// The longest time that a stream may take.
const LONGEST: Duration = Duration::from_secs(600);

/// A Gateway `ai` whose proxies have the side-car of Envoy AI Gateway; `telemetry` is a part of an EnvoyProxy's spec.
pub fn ai_gateway(telemetry: &str) -> String {
    format!(
        "---
apiVersion: gateway.envoyproxy.io/v1alpha1
kind: EnvoyProxy
metadata: {{name: ai}}
spec:
  provider:
    type: Kubernetes
    kubernetes:
      envoyDeployment:
        patch:
          type: StrategicMerge
          value:
            spec:
              template:
                spec:
                  containers:
                    - {{name: ai-gateway-extproc, image: model-server, args: [gateway-metrics, \"--listen=0.0.0.0:1064\"]}}
{telemetry}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {{name: ai}}
spec:
  gatewayClassName: eg
  infrastructure: {{parametersRef: {{group: gateway.envoyproxy.io, kind: EnvoyProxy, name: ai}}}}
  listeners: [{{name: http, protocol: HTTP, port: 8080}}]
"
    )
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
          args: [serve, \"--listen=0.0.0.0:8000\", --linger=6s, --drain=20s{args}]
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

/// An AIGatewayRoute with one rule for one model, its AIServiceBackend and Backend, and the HTTPRoute that Envoy AI Gateway would
/// generate from it.
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
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: {name}}}
spec:
  parentRefs: [{{group: gateway.networking.k8s.io, kind: Gateway, name: ai}}]
  rules:
    - matches: [{{headers: [{{type: Exact, name: x-ai-eg-model, value: {model}}}]}}]
      backendRefs: [{{group: gateway.envoyproxy.io, kind: Backend, name: {name}}}]
      timeouts: {{request: 600s}}
"
    )
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
    entrance: SocketAddr,
    model: Arc<str>,
}

impl Chat {
    /// A client that sends requests through the proxy that listens at `entrance`.
    pub fn new(entrance: SocketAddr, model: &str) -> Self {
        Self { entrance, model: model.into() }
    }

    /// Sends a request, reads the stream to its end, and then reports it to the side-car.
    pub async fn ask(&self, prompt: &Prompt) -> Result<Usage> {
        let begun = Instant::now();
        let body = json!({
            "model": &*self.model, "messages": [], "stream": true, "stream_options": {"include_usage": true},
            "simulate": {"input_tokens": prompt.input, "output_tokens": prompt.output, "prefix_blocks": prompt.blocks},
        });
        let exchange = post(self.entrance, "/v1/chat/completions", Some(&self.model), &body);
        let answer = timeout(LONGEST, exchange).await.context("a stream that does not end")??;
        let usage = usage(&answer).with_context(|| format!("an answer without usage: {answer}"))?;
        self.count(&self.model, usage, begun.elapsed()).await?;
        Ok(usage)
    }

    /// Reports a request to the side-car, which counts it, as the real one does at the end of each.
    pub async fn count(&self, asked_for: &str, usage: Usage, took: Duration) -> Result<()> {
        let observed = json!([{"original": asked_for, "input": usage.input, "cached": usage.cached,
            "output": usage.output, "seconds": took.as_secs_f64()}]);
        post(self.side_car(), "/observe", None, &observed).await.map(drop)
    }

    /// Resets the side-car's counters, as a restart does.
    pub async fn restart_side_car(&self) -> Result<()> {
        post(self.side_car(), "/reset", None, &Value::Null).await.map(drop)
    }

    fn side_car(&self) -> SocketAddr {
        SocketAddr::new(self.entrance.ip(), METRICS_PORT)
    }

    /// Sends this many requests per second, until the result is dropped.
    pub fn steadily(&self, per_second: f64, mut next: impl FnMut() -> Prompt + Send + 'static) -> Talking {
        let chat = self.clone();
        Talking(tokio::spawn(async move {
            let mut ticks = interval(Duration::from_secs_f64(1.0 / per_second));
            ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
            let mut open = JoinSet::new();
            loop {
                ticks.tick().await;
                let (chat, prompt) = (chat.clone(), next());
                // Requests that fail are load too; tests check the scaler's reaction to it.
                open.spawn(async move { chat.ask(&prompt).await.map(drop) });
                while open.try_join_next().is_some() {}
            }
        }))
    }
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

async fn post(to: SocketAddr, path: &str, model: Option<&str>, body: &Value) -> Result<String> {
    static CLIENT: OnceLock<Client<HttpConnector, Full<Bytes>>> = OnceLock::new();
    let client = CLIENT.get_or_init(|| Client::builder(TokioExecutor::new()).build_http());
    let request = Request::builder().method(Method::POST).uri(format!("http://{to}{path}"));
    let request = model.into_iter().fold(request, |request, model| request.header("x-ai-eg-model", model));
    let request = request.header("content-type", "application/json").body(Full::from(body.to_string()))?;
    let response = client.request(request).await?;
    let status = response.status();
    let body = response.into_body().collect().await?.to_bytes();
    let body = String::from_utf8_lossy(&body).into_owned();
    ensure!(status.is_success(), "POST {path} answered {status}: {body}");
    Ok(body)
}
