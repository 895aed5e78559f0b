//! The calls that KEDA makes (`pkg/scalers/external_scaler.go`, `pkg/scaling/cache/scalers_cache.go`): no deadline, one
//! immediate retry, and streams that are reopened after 2 s, 4 s, … 1 min.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tidegate_proto::{GetMetricsRequest, ScaledObjectRef, external_scaler_client::ExternalScalerClient};
use tokio::{sync::mpsc, time::sleep};
use tonic::{Code, Status, transport::Channel};

use super::{
    Answer, Answers, MetricSpec, Reading, ScaledObject, TriggerAnswer,
    answers::{metric_specs, metric_values, plain_name},
};

const FIRST_RETRY: Duration = Duration::from_secs(2);
const LONGEST_RETRY: Duration = Duration::from_secs(60);

/// The scaler of one ScaledObject. All its triggers share the one address.
#[derive(Debug)]
pub(super) struct Scaler {
    client: ExternalScalerClient<Channel>,
    references: Vec<ScaledObjectRef>,
    /// The last message of `StreamMetricSpec` for each trigger. It takes precedence over `GetMetricSpec`.
    streamed: Mutex<HashMap<usize, Vec<MetricSpec>>>,
}

impl Scaler {
    pub(super) fn new(client: ExternalScalerClient<Channel>, object: &ScaledObject) -> Self {
        let reference = |trigger: &super::Trigger| ScaledObjectRef {
            name: object.metadata.name.clone(),
            namespace: object.metadata.namespace.clone(),
            scaler_metadata: trigger.metadata.clone().into_iter().collect(),
        };
        let references = object.spec.triggers.iter().map(reference).collect();
        Self { client, references, streamed: Mutex::default() }
    }

    /// Asks every trigger for its specs, and then for its wanted metrics. An error drops the streamed specs, as in KEDA's cache
    /// of scalers.
    pub(super) async fn answers(&self, wanted: impl Fn(&str) -> bool) -> Answers {
        let mut triggers = Vec::with_capacity(self.references.len());
        for trigger in 0..self.references.len() {
            let specs = self.specs(trigger).await;
            let mut metrics = HashMap::new();
            for spec in specs.iter().flatten().filter(|spec| wanted(&spec.name)) {
                metrics.insert(spec.name.clone(), self.reading(trigger, &spec.name).await);
            }
            triggers.push(TriggerAnswer { specs, metrics });
        }
        if triggers.iter().any(|trigger| trigger.specs.is_err() || trigger.metrics.values().any(Result::is_err)) {
            self.lock().clear();
        }
        Answers { triggers }
    }

    /// `GetMetricSpecForScalingForScaler`
    async fn specs(&self, trigger: usize) -> Result<Vec<MetricSpec>, String> {
        if let Some(specs) = self.lock().get(&trigger) {
            return Ok(specs.clone());
        }
        let mut failure = "got empty metric spec".to_owned();
        for _ in 0..2 {
            match self.client.clone().get_metric_spec(self.reference(trigger)).await {
                Ok(response) => {
                    let specs = metric_specs(trigger, response.get_ref());
                    if !specs.is_empty() {
                        return Ok(specs);
                    }
                }
                Err(status) => failure = describe("GetMetricSpec", &status),
            }
        }
        Err(failure)
    }

    /// `GetMetricsAndActivityForScaler`
    async fn reading(&self, trigger: usize, metric: &str) -> Answer {
        match self.try_reading(trigger, metric).await {
            Ok(reading) => Ok(reading),
            Err(_) => self.try_reading(trigger, metric).await,
        }
    }

    async fn try_reading(&self, trigger: usize, metric: &str) -> Answer {
        let mut client = self.client.clone();
        let reference = self.reference(trigger);
        let metric_name = plain_name(trigger, metric).unwrap_or(metric).to_owned();
        let request = GetMetricsRequest { scaled_object_ref: Some(reference.clone()), metric_name };
        let metrics = client.get_metrics(request).await.map_err(|status| describe("GetMetrics", &status))?;
        let activity = client.is_active(reference).await.map_err(|status| describe("IsActive", &status))?;
        Ok(Reading { values: metric_values(metrics.get_ref()), active: activity.get_ref().result })
    }

    /// `runStreamIsActive`: sends the trigger's index for every `true`, and opens the stream again whenever it ends.
    pub(super) async fn stream_activity(&self, trigger: usize, pushed: mpsc::Sender<usize>) {
        let mut retry = FIRST_RETRY;
        loop {
            match self.activity_until_it_ends(trigger, &pushed).await {
                Ok(()) => retry = FIRST_RETRY,
                Err(status) => tracing::debug!(%status, ?retry, "StreamIsActive broke"),
            }
            sleep(retry).await;
            retry = (retry * 2).min(LONGEST_RETRY);
        }
    }

    async fn activity_until_it_ends(&self, trigger: usize, pushed: &mpsc::Sender<usize>) -> Result<(), Status> {
        let mut stream = self.client.clone().stream_is_active(self.reference(trigger)).await?.into_inner();
        while let Some(message) = stream.message().await? {
            if message.result {
                let _ = pushed.send(trigger).await;
            }
        }
        Ok(())
    }

    /// `runStreamMetricSpec`: keeps the streamed specs and signals each update, until the scaler answers `UNIMPLEMENTED`.
    pub(super) async fn stream_specs(&self, trigger: usize, updated: mpsc::Sender<()>) {
        let mut retry = FIRST_RETRY;
        loop {
            let mut received = false;
            match self.specs_until_they_end(trigger, &updated, &mut received).await {
                Err(status) if status.code() == Code::Unimplemented => return,
                // A stream that breaks before it sent anything is retried after ever longer delays.
                Err(status) if !received => tracing::debug!(%status, ?retry, "StreamMetricSpec broke"),
                _ => retry = FIRST_RETRY,
            }
            sleep(retry).await;
            retry = (retry * 2).min(LONGEST_RETRY);
        }
    }

    async fn specs_until_they_end(
        &self,
        trigger: usize,
        updated: &mpsc::Sender<()>,
        received: &mut bool,
    ) -> Result<(), Status> {
        let mut stream = self.client.clone().stream_metric_spec(self.reference(trigger)).await?.into_inner();
        while let Some(response) = stream.message().await? {
            *received = true;
            let specs = metric_specs(trigger, &response);
            if !specs.is_empty() {
                self.lock().insert(trigger, specs);
                let _ = updated.send(()).await;
            }
        }
        Ok(())
    }

    fn reference(&self, trigger: usize) -> ScaledObjectRef {
        self.references.get(trigger).cloned().unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<usize, Vec<MetricSpec>>> {
        self.streamed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn describe(call: &str, status: &Status) -> String {
    format!("{call}: {:?}: {}", status.code(), status.message())
}
