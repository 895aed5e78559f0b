//! KEDA's external scaler, answered from memory.
//!
//! KEDA's client sets no deadline (`pkg/scalers/external_scaler.go`), so a call that waits would stall all polls of its
//! object: nothing here does I/O. Rules of the contract that KEDA's documentation leaves out are noted at the answers.

mod activity;
pub(crate) mod connections;
mod serve;
pub(crate) mod status;
mod tls;

use std::{pin::Pin, sync::Arc};

use futures::stream::{self, Stream};
use tidegate_core::{
    plan::Plan,
    signal::{Signal, Target},
    trigger::Trigger,
};
use tidegate_proto::{
    GetMetricSpecResponse, GetMetricsRequest, GetMetricsResponse, IsActiveResponse, MetricSpec, MetricValue,
    ScaledObjectRef, external_scaler_server::ExternalScaler,
};
use tokio::sync::watch;
use tonic::{Request, Response, Status};

use self::activity::Subscribers;
use self::status::RpcRefusal;
pub use self::{
    serve::{ServeError, ServiceSettings, serve},
    tls::{TlsError, TlsSettings},
};
use crate::{
    demand::{Demands, NoDemand},
    metrics::ScalerMetrics,
};

/// The service that KEDA calls. [`serve()`] puts it on a socket and feeds its streams.
pub struct Scaler {
    demands: Arc<Demands>,
    plan: watch::Receiver<Option<Arc<Plan>>>,
    metrics: ScalerMetrics,
    subscribers: Subscribers,
    closing: watch::Sender<bool>,
}

impl Scaler {
    /// Creates a scaler that answers from `demands` and `plan` and counts its calls in `metrics`.
    pub fn new(demands: Arc<Demands>, plan: watch::Receiver<Option<Arc<Plan>>>, metrics: ScalerMetrics) -> Self {
        Self { demands, plan, metrics, subscribers: Subscribers::default(), closing: watch::Sender::new(false) }
    }

    /// Ends all streams, so that a graceful shutdown does not wait for KEDA. KEDA reconnects after 2 s.
    fn close(&self) {
        self.subscribers.close();
        self.closing.send_replace(true);
    }

    /// Makes the specs from the metadata alone, so that they do not depend on anything that may be broken: KEDA's fallback never fires
    /// when this call fails (kedacore/keda#8056).
    fn metric_specs(object: &ScaledObjectRef) -> Result<GetMetricSpecResponse, RpcRefusal> {
        let spec = |target: &Target| MetricSpec {
            metric_name: target.signal.metric_name().to_owned(),
            // KEDA takes the float if it is above zero; a client that reads only the integer must not get 0.
            target_size: (target.per_replica.get().ceil() as i64).max(1),
            target_size_float: target.per_replica.get(),
        };
        Ok(GetMetricSpecResponse { metric_specs: parse(object)?.targets.iter().map(spec).collect() })
    }

    /// Returns exactly the metric that was asked for: KEDA gives every value in the answer that name, and the HPA would sum them up.
    fn metric(&self, object: &ScaledObjectRef, asked: &str) -> Result<GetMetricsResponse, RpcRefusal> {
        let trigger = parse(object)?;
        let signal: Option<Signal> = asked.parse().ok().or_else(|| without_index(asked)?.parse().ok());
        let target = trigger.targets.iter().find(|target| Some(target.signal) == signal);
        let target = target.ok_or_else(|| RpcRefusal::unknown_metric(asked, &trigger))?;
        let plan = self.plan()?;
        let value = self.demands.answer(&trigger, *target, &plan)?.min(MOST);
        let value = MetricValue {
            metric_name: asked.to_owned(),
            // Rounded up: a client that reads only the integer would take 0 for "nothing to do".
            metric_value: value.ceil() as i64,
            metric_value_float: value,
        };
        Ok(GetMetricsResponse { metric_values: vec![value] })
    }

    fn plan(&self) -> Result<Arc<Plan>, NoDemand> {
        self.plan.borrow().clone().ok_or(NoDemand::NothingKnown)
    }

    fn active(&self, trigger: &Trigger) -> Result<bool, RpcRefusal> {
        Ok(self.demands.is_active(trigger, &*self.plan()?)?)
    }
}

/// Largest value that is sent. KEDA converts values to thousandths in 64 bits (`GenerateMetricInMili` in `pkg/scalers/scaler.go`),
/// unchecked: a larger one would become negative.
const MOST: f64 = 9e15;

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl ExternalScaler for Scaler {
    async fn is_active(&self, request: Request<ScaledObjectRef>) -> Result<Response<IsActiveResponse>, Status> {
        self.metrics.observe("IsActive", || {
            let result = self.active(&parse(request.get_ref())?)?;
            Ok(Response::new(IsActiveResponse { result }))
        })
    }

    async fn get_metric_spec(
        &self,
        request: Request<ScaledObjectRef>,
    ) -> Result<Response<GetMetricSpecResponse>, Status> {
        self.metrics.observe("GetMetricSpec", || Ok(Response::new(Self::metric_specs(request.get_ref())?)))
    }

    async fn get_metrics(&self, request: Request<GetMetricsRequest>) -> Result<Response<GetMetricsResponse>, Status> {
        self.metrics.observe("GetMetrics", || {
            let GetMetricsRequest { scaled_object_ref, metric_name } = request.get_ref();
            let object = scaled_object_ref.as_ref().ok_or(RpcRefusal::NoObject)?;
            Ok(Response::new(self.metric(object, metric_name)?))
        })
    }

    type StreamIsActiveStream = Answers<IsActiveResponse>;

    async fn stream_is_active(
        &self,
        request: Request<ScaledObjectRef>,
    ) -> Result<Response<Self::StreamIsActiveStream>, Status> {
        self.metrics.observe("StreamIsActive", || {
            let states = self.subscribe(parse(request.get_ref())?);
            let open = self.metrics.stream_opened("StreamIsActive");
            Ok(Response::new(Box::pin(activity::changes(states, open)) as Answers<_>))
        })
    }

    type StreamMetricSpecStream = Answers<GetMetricSpecResponse>;

    /// Sends the specs once, at the start. They are made of the metadata, which does not change while the stream is open: KEDA opens
    /// another one when the ScaledObject changes. So the stream is then quiet until it ends.
    async fn stream_metric_spec(
        &self,
        request: Request<ScaledObjectRef>,
    ) -> Result<Response<Self::StreamMetricSpecStream>, Status> {
        self.metrics.observe("StreamMetricSpec", || {
            let specs = Self::metric_specs(request.get_ref())?;
            let open = self.metrics.stream_opened("StreamMetricSpec");
            let state = (Some(specs), self.closing.subscribe(), open);
            let answers = stream::unfold(state, |(specs, mut closing, open)| async move {
                if let Some(specs) = specs {
                    return Some((Ok(specs), (None, closing, open)));
                }
                // An error means that the scaler is gone, which is an end too.
                let _ = closing.wait_for(|closing| *closing).await;
                None
            });
            Ok(Response::new(Box::pin(answers) as Answers<_>))
        })
    }
}

fn parse(object: &ScaledObjectRef) -> Result<Trigger, RpcRefusal> {
    let ScaledObjectRef { name, namespace, scaler_metadata } = object;
    Trigger::parse(namespace, scaler_metadata).map_err(|problems| RpcRefusal::metadata(namespace, name, &problems))
}

/// Strips KEDA's prefix: the metric's name in the HPA is `s0-requests-per-second`.
fn without_index(name: &str) -> Option<&str> {
    let (index, rest) = name.strip_prefix('s')?.split_once('-')?;
    (!index.is_empty() && index.bytes().all(|b| b.is_ascii_digit())).then_some(rest)
}
