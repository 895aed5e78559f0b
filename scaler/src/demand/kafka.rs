//! Lag as demand: as messages, or as the time that it takes to read them.

use std::{collections::HashMap, sync::Arc, time::Duration};

use parking_lot::MutexGuard;
use tidegate_core::{
    kafka::{KafkaIntent, Lag, Throughput},
    plan::{Plan, PlannedWorkload, Replicas},
    signal::{PerReplica, Signal, Target},
    trigger::{Traffic, Trigger},
    workload::WorkloadId,
};
use tokio::{sync::watch, time::Instant};
use tokio_util::sync::CancellationToken;

use super::{Demands, NoDemand, planned, unknown_workload};
use crate::store::{NoReading, Reading};

/// Time that replicas are held after a scale-down: long enough for the HPA, which looks every 15 s, to see it.
const SETTLE: Duration = Duration::from_secs(60);

/// The current state of a consumer group.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct KafkaNow {
    pub(crate) lag: Lag,
    pub(crate) age: Duration,
    pub(crate) throughput: Throughput,
    /// Replicas that are held because there were more a moment ago
    pub(crate) held_at: Option<u32>,
}

/// Observes the Plan's consumers after each round until `stop` is cancelled: so each of Tidegate's pods knows the throughput of
/// their replicas, whichever pod KEDA asks.
pub async fn watch_consumers(demands: Arc<Demands>, plan: watch::Receiver<Option<Arc<Plan>>>, stop: CancellationToken) {
    let mut rounds = demands.signals().rounds();
    loop {
        tokio::select! {
            changed = rounds.changed() => if changed.is_err() { return },
            () = stop.cancelled() => return,
        }
        let Some(plan) = plan.borrow().clone() else { continue };
        for (id, workload) in &plan.workloads {
            let Ok(intent) = &workload.intent else { continue };
            // The callers that ask for its demand get the error.
            let lag = intent.kafka.as_ref().and_then(|kafka| demands.signals().lag(&kafka.lag).ok());
            if let Some((lag, _)) = lag {
                demands.observe(id, workload, intent.target(Signal::KafkaLagSeconds), &lag, &plan);
            }
        }
    }
}

impl Demands {
    pub(super) fn kafka(&self, trigger: &Trigger, target: Target, plan: &Plan) -> Result<Reading, NoDemand> {
        let kafka = trigger.kafka.as_ref().ok_or(NoDemand::NoTraffic)?;
        let per_replica = target.per_replica.get();
        let now = self.kafka_now(trigger, plan)?;
        let told = if target.signal == Signal::KafkaLag {
            kafka.told(now.lag.messages as f64, target.per_replica, &now.lag)
        } else {
            let rates = now.lag.rates.ok_or_else(|| of_group(kafka, still_unknown()))?;
            let work = now.throughput.work(&now.lag, &rates, per_replica, replicas(trigger, plan)?.wanted);
            // Replicas that keep up with arriving messages read from partitions without lag, so the limit is all partitions.
            kafka.told(work, target.per_replica, &Lag { with_lag: now.lag.partitions, ..now.lag })
        };
        let held = now.held_at.map_or(0.0, |replicas| f64::from(replicas) * per_replica);
        Ok(Reading { value: told.max(held), age: now.age })
    }

    /// Whether the lag wakes the workload from zero. The last lag is used, however old: activity stays as it was while data is
    /// missing.
    pub(super) fn wakes(&self, trigger: &Trigger, signal: Signal) -> Result<bool, NoDemand> {
        let kafka = trigger.kafka.as_ref().ok_or(NoDemand::NoTraffic)?;
        self.signals.keep_lag(&kafka.lag);
        let lag = match self.signals.last_lag(&kafka.lag) {
            Some(lag) => lag,
            None => self.signals.lag(&kafka.lag).map_err(|reason| of_group(kafka, reason))?.0,
        };
        if lag.messages > kafka.activation || signal == Signal::KafkaLag {
            return Ok(lag.messages > kafka.activation);
        }
        // A group without lag at each sweep is not idle if messages arrive; the arrival rate is unknown for the first seconds.
        let rates = lag.rates.ok_or_else(|| of_group(kafka, still_unknown()))?;
        Ok(rates.arriving > 0.0)
    }

    /// Returns the current state of the trigger's group.
    pub(crate) fn kafka_now(&self, trigger: &Trigger, plan: &Plan) -> Result<KafkaNow, NoDemand> {
        let kafka = trigger.kafka.as_ref().ok_or(NoDemand::NoTraffic)?;
        self.signals.keep_lag(&kafka.lag);
        let (lag, age) = self.signals.lag(&kafka.lag).map_err(|reason| of_group(kafka, reason))?;
        let seconds = trigger.targets.iter().find(|target| target.signal == Signal::KafkaLagSeconds);
        let seconds = seconds.map(|target| target.per_replica);
        let observed = planned(trigger, plan).map(|(id, workload)| self.observe(id, workload, seconds, &lag, plan));
        let (throughput, held_at) = observed.unwrap_or_default();
        Ok(KafkaNow { lag, age, throughput, held_at })
    }

    /// Records the lag of a workload's group. Returns the throughput of its replicas, and the number of replicas that are held
    /// because there were more a moment ago.
    fn observe(
        &self,
        id: &WorkloadId,
        workload: &PlannedWorkload,
        seconds: Option<PerReplica>,
        lag: &Lag,
        plan: &Plan,
    ) -> (Throughput, Option<u32>) {
        let now = Instant::now();
        let mut consumers = self.consumers();
        let consumer = consumers.of(id, workload.replicas, now, plan);
        if let (Some(rates), Some(seconds)) = (lag.rates, seconds)
            && now.duration_since(consumer.reading_since) >= rates.over
        {
            consumer.throughput.observe(&rates, workload.replicas.ready, seconds.get());
        }
        let window = workload.intent.as_ref().map_or(Duration::ZERO, |intent| intent.scale_down_after);
        let settles = consumer.fewer_since.is_some_and(|at| now.duration_since(at) < window.min(SETTLE));
        (consumer.throughput, settles.then_some(workload.replicas.wanted))
    }

    fn consumers(&self) -> MutexGuard<'_, Consumers> {
        // A panic elsewhere leaves consistent values.
        self.consumers.lock()
    }
}

/// Observations of the workloads that consume.
#[derive(Debug, Default)]
pub(super) struct Consumers(HashMap<WorkloadId, Consumer>);

#[derive(Debug)]
struct Consumer {
    replicas: Replicas,
    /// Start of the time in which the number of ready replicas has been constant
    reading_since: Instant,
    /// Time of the last scale-down.
    ///
    /// A member that leaves a group that rebalances eagerly stops the whole group for a moment (kedacore/keda#5096). The HPA would
    /// remove replicas one by one as its window moves over a falling lag. Once it has read that all remaining replicas are needed,
    /// it waits for another window: so there is one step per window.
    fewer_since: Option<Instant>,
    throughput: Throughput,
}

impl Consumers {
    fn of(&mut self, id: &WorkloadId, replicas: Replicas, now: Instant, plan: &Plan) -> &mut Consumer {
        if self.0.len() > plan.workloads.len() {
            // Only workloads that are gone are forgotten: the throughput of the others is remembered even while they have no lag.
            self.0.retain(|id, _| plan.workloads.contains_key(id));
        }
        let new = || Consumer { replicas, reading_since: now, fewer_since: None, throughput: Throughput::default() };
        let consumer = self.0.entry(id.clone()).or_insert_with(new);
        if replicas.ready != consumer.replicas.ready {
            consumer.reading_since = now;
        }
        if replicas.wanted < consumer.replicas.wanted {
            consumer.fewer_since = Some(now);
        }
        consumer.replicas = replicas;
        consumer
    }
}

fn replicas(trigger: &Trigger, plan: &Plan) -> Result<Replicas, NoDemand> {
    match &trigger.traffic {
        Some(Traffic::Workload(id)) => match plan.workloads.get(id) {
            Some(workload) => Ok(workload.replicas),
            None => Err(unknown_workload(id, plan)),
        },
        _ => Err(NoDemand::NoTraffic),
    }
}

pub(super) fn of_group(kafka: &KafkaIntent, reason: NoReading) -> NoDemand {
    NoDemand::NoReading { name: kafka.lag.to_string(), reason }
}

fn still_unknown() -> NoReading {
    NoReading::NotYet { waiting_for: "how fast the group reads is known after 20 s of sweeps".to_owned() }
}

#[cfg(test)]
mod tests {
    use tidegate_core::{
        kafka::{KafkaLag, Rates},
        workload::WorkloadKind,
    };
    use tokio::time::advance;

    use super::*;
    use crate::fixture::{STALE_AFTER, demands, deployment, plan};

    const MINUTE: Duration = Duration::from_secs(60);

    struct Billing {
        demands: Demands,
        plan: Plan,
        trigger: Trigger,
    }

    impl Billing {
        fn new(annotations: &[(&str, &str)]) -> Self {
            let all = [&[("kafka-group", "billing"), ("kafka-topics", "orders"), ("max-replicas", "50")], annotations]
                .concat();
            let plan = plan("billing", &all, Vec::new());
            let id = deployment("billing");
            assert_eq!(id.kind, WorkloadKind::Deployment);
            let trigger = Trigger::of_workload(&id, plan.workloads[&id].intent.as_ref().unwrap());
            let this = Self { demands: demands(), plan, trigger };
            this.demands.signals().keep(&this.plan);
            this
        }

        fn lag(&self) -> &KafkaLag {
            &self.trigger.kafka.as_ref().unwrap().lag
        }

        fn sweeps(&self, lag: Lag) {
            self.demands.signals().commit_lags(vec![(self.lag().clone(), Ok(lag))]);
        }

        fn scale(&mut self, replicas: u32) {
            let workload = self.plan.workloads.get_mut(&deployment("billing")).unwrap();
            workload.replicas = Replicas { wanted: replicas, ready: replicas };
        }

        fn replicas(&self) -> Result<u32, String> {
            let demand = self.demands.demand(&self.trigger, self.trigger.targets[0], &self.plan);
            demand.map(|demand| demand.need.replicas()).map_err(|none| none.to_string())
        }

        fn is_active(&self) -> bool {
            self.demands.is_active(&self.trigger, &self.plan).unwrap()
        }
    }

    fn waiting(messages: u64) -> Lag {
        Lag { messages, partitions: 40, with_lag: 40, ..Lag::default() }
    }

    fn flowing(messages: u64, arriving: f64, consumed: f64) -> Lag {
        Lag { rates: Some(Rates { arriving, consumed, least_waiting: messages, over: MINUTE }), ..waiting(messages) }
    }

    #[tokio::test(start_paused = true)]
    async fn lag_is_held_while_no_broker_answers_and_then_it_is_an_error() {
        let billing = Billing::new(&[("kafka-lag", "100")]);
        assert!(billing.replicas().unwrap_err().contains("no Kafka broker was asked yet"));
        billing.sweeps(Lag { messages: 1000, partitions: 4, with_lag: 4, ..Lag::default() });
        assert_eq!(billing.replicas(), Ok(4), "no more than partitions");
        let away = vec![(billing.lag().clone(), Err("broker away".to_owned()))];
        billing.demands.signals().commit_lags(away);
        assert_eq!(billing.replicas(), Ok(4));
        let held = billing.demands.demand(&billing.trigger, billing.trigger.targets[0], &billing.plan).unwrap();
        assert!(held.caveat.is_some_and(|why| why.to_string().ends_with("broker away")), "it says why");
        advance(STALE_AFTER * 2).await;
        assert!(billing.replicas().unwrap_err().contains("broker away"));
        assert!(billing.is_active(), "activity stays as it was");
        billing.sweeps(waiting(0));
        assert!(!billing.is_active());
    }

    #[tokio::test(start_paused = true)]
    async fn lag_wakes_from_zero_only_above_the_activation() {
        let billing = Billing::new(&[("kafka-lag", "10"), ("kafka-activation", "100"), ("min-replicas", "0")]);
        for (messages, active) in [(0, false), (100, false), (101, true)] {
            billing.sweeps(waiting(messages));
            assert_eq!(billing.is_active(), active, "{messages}");
        }
        billing.sweeps(Lag { messages: 101, partitions: 1, with_lag: 1, ..Lag::default() });
        assert!(billing.is_active(), "what a partition can feed does not lower it");
    }

    #[tokio::test(start_paused = true)]
    async fn a_group_gives_up_replicas_in_one_step_and_then_settles() {
        let mut billing = Billing::new(&[("kafka-lag", "10")]);
        billing.scale(20);
        billing.sweeps(waiting(200));
        assert_eq!(billing.replicas(), Ok(20));
        billing.sweeps(waiting(120));
        assert_eq!(billing.replicas(), Ok(12));
        billing.scale(12);
        billing.sweeps(waiting(70));
        assert_eq!(billing.replicas(), Ok(12), "it rebalances");
        billing.sweeps(waiting(150));
        assert_eq!(billing.replicas(), Ok(15), "more are always given");
        billing.sweeps(waiting(70));
        advance(SETTLE).await;
        assert_eq!(billing.replicas(), Ok(7));
    }

    #[tokio::test(start_paused = true)]
    async fn who_wants_no_window_gets_none() {
        let mut billing = Billing::new(&[("kafka-lag", "10"), ("scale-down-after", "0s")]);
        billing.scale(20);
        billing.sweeps(waiting(200));
        assert_eq!(billing.replicas(), Ok(20));
        billing.scale(12);
        billing.sweeps(waiting(70));
        assert_eq!(billing.replicas(), Ok(7));
    }

    #[tokio::test(start_paused = true)]
    async fn what_waits_is_read_in_the_time_that_was_asked_for() {
        let mut billing = Billing::new(&[("kafka-lag-seconds", "60"), ("min-replicas", "0")]);
        billing.sweeps(waiting(30_000));
        assert!(billing.is_active());
        assert!(billing.replicas().unwrap_err().contains("known after 20 s"));
        billing.scale(2);
        billing.sweeps(flowing(30_000, 100.0, 40.0));
        assert_eq!(billing.replicas(), Ok(2), "a minute of two replicas was not seen yet");
        advance(MINUTE).await;
        billing.sweeps(flowing(30_000, 100.0, 40.0));
        // 20 messages/s each, of 30,000 and 6,000 that arrive.
        assert_eq!(billing.replicas(), Ok(30));
        billing.scale(30);
        billing.sweeps(flowing(30_000, 100.0, 0.0));
        assert_eq!(billing.replicas(), Ok(30), "a rebalance changes nothing");
        advance(MINUTE).await;
        billing.sweeps(flowing(0, 100.0, 100.0));
        assert_eq!(billing.replicas(), Ok(5));
        assert!(billing.is_active(), "messages arrive, and are read at once");
        billing.sweeps(flowing(0, 0.0, 0.0));
        assert_eq!((billing.replicas(), billing.is_active()), (Ok(0), false));
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_that_waits_is_not_idle_while_nobody_knows_whether_messages_arrive() {
        let billing = Billing::new(&[("kafka-lag-seconds", "60"), ("min-replicas", "0")]);
        billing.sweeps(waiting(0));
        let unknown = billing.demands.is_active(&billing.trigger, &billing.plan).unwrap_err().to_string();
        assert!(unknown.contains("known after 20 s"), "{unknown}");
        billing.sweeps(waiting(1));
        assert!(billing.is_active(), "what waits is known");
        billing.sweeps(flowing(0, 100.0, 100.0));
        assert!(billing.is_active());
        billing.sweeps(flowing(0, 0.0, 0.0));
        assert!(!billing.is_active(), "it is known to be idle");
    }

    #[tokio::test(start_paused = true)]
    async fn replicas_that_keep_up_are_not_capped_by_partitions_on_which_nothing_waits() {
        let mut billing = Billing::new(&[("kafka-lag-seconds", "60"), ("kafka-partition-cap", "with-lag")]);
        billing.scale(5);
        for _ in 0..2 {
            billing.sweeps(Lag { with_lag: 0, ..flowing(0, 100.0, 100.0) });
            assert_eq!(billing.replicas(), Ok(5));
            advance(MINUTE).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn seconds_need_a_workload_whose_replicas_are_known() {
        let mut billing = Billing::new(&[("kafka-lag-seconds", "60")]);
        billing.sweeps(flowing(100, 1.0, 1.0));
        billing.plan.workloads.clear();
        assert!(billing.replicas().unwrap_err().contains("billing"));
    }
}
