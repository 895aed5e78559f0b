//! KEDA's external scaler, answered from memory.
//!
//! KEDA's client sets no deadline (`pkg/scalers/external_scaler.go`), so a call that waits would stall all polls of its
//! object: nothing here does I/O. The rules of the contract that KEDA's documentation does not tell are at the answers.

mod serve;
mod streams;
mod tls;

use std::{
    collections::HashMap,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
};

use tidegate_core::{
    plan::Plan,
    problem::Problem,
    signal::Signal,
    trigger::{Traffic, Trigger},
};
use tidegate_proto::{
    GetMetricSpecResponse, GetMetricsRequest, GetMetricsResponse, IsActiveResponse, MetricSpec, MetricValue,
    ScaledObjectRef, external_scaler_server::ExternalScaler,
};
use tokio::sync::watch;
use tokio_stream::Stream;
use tonic::{Request, Response, Status};

pub use self::{
    serve::{ServeError, ServiceSettings, serve},
    tls::{TlsError, TlsSettings},
};
use crate::{
    demand::{self, NoDemand},
    metrics::ScalerMetrics,
    signals::Signals,
};

/// What KEDA calls.
#[derive(Clone)]
pub struct Scaler {
    signals: Arc<Signals>,
    plan: watch::Receiver<Arc<Plan>>,
    shutdown: watch::Receiver<bool>,
    metrics: ScalerMetrics,
    activity: Arc<Activity>,
}

impl Scaler {
    /// A scaler that answers from these. Its streams end when `shutdown` says so.
    pub fn new(
        signals: Arc<Signals>,
        plan: watch::Receiver<Arc<Plan>>,
        metrics: ScalerMetrics,
        shutdown: watch::Receiver<bool>,
    ) -> Self {
        Self { signals, plan, shutdown, metrics, activity: Arc::default() }
    }

    /// From the metadata alone, whatever else is broken: KEDA's fallback never fires when this fails
    /// (kedacore/keda#8056).
    fn metric_specs(object: &ScaledObjectRef) -> Result<GetMetricSpecResponse, Status> {
        let spec = |target: &tidegate_core::signal::Target| MetricSpec {
            metric_name: target.signal.metric_name().to_owned(),
            // KEDA takes the float if it is above zero, and older versions know only the integer, of which 0 is refused.
            target_size: (target.per_replica.get().round() as i64).max(1),
            target_size_float: target.per_replica.get(),
        };
        Ok(GetMetricSpecResponse { metric_specs: parse(object)?.targets.iter().map(spec).collect() })
    }

    /// Exactly the metric that was asked for: KEDA gives whatever comes back that name, and the HPA would sum it all up.
    fn metric(&self, object: &ScaledObjectRef, asked: &str) -> Result<GetMetricsResponse, Status> {
        let trigger = parse(object)?;
        let target = asked
            .parse::<Signal>()
            .or_else(|unknown| without_index(asked).map_or(Err(unknown), str::parse))
            .ok()
            .and_then(|signal| trigger.targets.iter().find(|target| target.signal == signal));
        let Some(target) = target else {
            let known: Vec<_> = trigger.targets.iter().map(|target| target.signal.metric_name()).collect();
            return Err(Status::not_found(format!(
                "this trigger has no metric \"{asked}\"; it has {}",
                known.join(", ")
            )));
        };
        let plan = self.plan.borrow().clone();
        let demand =
            demand::demand(&trigger, *target, &plan, &self.signals).map_err(|none| status(&none, &trigger, &plan))?;
        let value = MetricValue {
            metric_name: asked.to_owned(),
            metric_value: demand.need.value.ceil() as i64,
            metric_value_float: demand.need.value,
        };
        Ok(GetMetricsResponse { metric_values: vec![value] })
    }

    /// While data is missing, activity stays as it was.
    fn active(&self, object: &ScaledObjectRef) -> Result<bool, Status> {
        let trigger = parse(object)?;
        let plan = self.plan.borrow().clone();
        match demand::is_active(&trigger, &plan, &self.signals) {
            Ok(active) => {
                self.activity.remember(object, active);
                Ok(active)
            }
            Err(none) => self.activity.last(object).ok_or_else(|| status(&none, &trigger, &plan)),
        }
    }
}

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl ExternalScaler for Scaler {
    async fn is_active(&self, request: Request<ScaledObjectRef>) -> Result<Response<IsActiveResponse>, Status> {
        let answer = self.metrics.observe("IsActive", || self.active(request.get_ref()));
        answer.map(|result| Response::new(IsActiveResponse { result }))
    }

    async fn get_metric_spec(
        &self,
        request: Request<ScaledObjectRef>,
    ) -> Result<Response<GetMetricSpecResponse>, Status> {
        self.metrics.observe("GetMetricSpec", || Self::metric_specs(request.get_ref())).map(Response::new)
    }

    async fn get_metrics(&self, request: Request<GetMetricsRequest>) -> Result<Response<GetMetricsResponse>, Status> {
        let GetMetricsRequest { scaled_object_ref, metric_name } = request.into_inner();
        let object = scaled_object_ref.unwrap_or_default();
        self.metrics.observe("GetMetrics", || self.metric(&object, &metric_name)).map(Response::new)
    }

    type StreamIsActiveStream = Answers<IsActiveResponse>;

    async fn stream_is_active(
        &self,
        request: Request<ScaledObjectRef>,
    ) -> Result<Response<Self::StreamIsActiveStream>, Status> {
        let object = request.into_inner();
        self.metrics.observe("StreamIsActive", || parse(&object).map(drop))?;
        Ok(Response::new(Box::pin(streams::activity(self.clone(), object))))
    }

    type StreamMetricSpecStream = Answers<GetMetricSpecResponse>;

    async fn stream_metric_spec(
        &self,
        request: Request<ScaledObjectRef>,
    ) -> Result<Response<Self::StreamMetricSpecStream>, Status> {
        let specs = self.metrics.observe("StreamMetricSpec", || Self::metric_specs(request.get_ref()))?;
        Ok(Response::new(Box::pin(streams::specs(self, specs))))
    }
}

fn parse(object: &ScaledObjectRef) -> Result<Trigger, Status> {
    Trigger::parse(&object.namespace, &object.scaler_metadata).map_err(|problems| {
        let problems: Vec<_> = problems.iter().map(Problem::to_string).collect();
        let who = format!("ScaledObject {} in namespace {}", object.name, object.namespace);
        Status::invalid_argument(format!("{who}: {}", problems.join("; ")))
    })
}

/// `s0-requests-per-second` is KEDA's name for the metric in the HPA.
fn without_index(name: &str) -> Option<&str> {
    let (index, rest) = name.strip_prefix('s')?.split_once('-')?;
    (!index.is_empty() && index.bytes().all(|b| b.is_ascii_digit())).then_some(rest)
}

fn status(none: &NoDemand, trigger: &Trigger, plan: &Plan) -> Status {
    match (none, &trigger.traffic) {
        (NoDemand::NoRoute(_), Some(Traffic::Workload(id))) if !plan.workloads.contains_key(id) => {
            let known = plan.workloads.len();
            Status::not_found(format!(
                "{id} has no annotations of Tidegate, or does not exist; {known} workloads are known"
            ))
        }
        (NoDemand::NoRoute(_), Some(Traffic::Service(_))) => {
            Status::not_found(format!("{none}; routes reach {} Services", plan.services.len()))
        }
        _ => Status::unavailable(none.to_string()),
    }
}

/// The last known activity of ScaledObjects.
#[derive(Default)]
struct Activity(Mutex<HashMap<(String, String), bool>>);

impl Activity {
    /// Names come from the caller, so there is an end to what is remembered.
    const MOST: usize = 100_000;

    fn remember(&self, object: &ScaledObjectRef, active: bool) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= Self::MOST {
            all.clear();
        }
        all.insert((object.namespace.clone(), object.name.clone()), active);
    }

    fn last(&self, object: &ScaledObjectRef) -> Option<bool> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(&(object.namespace.clone(), object.name.clone())).copied()
    }
}
