//! Reconciles the number of proxies. Level-triggered, once a second: only the present load and objects decide.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use chrono::Utc;
use tidegate_cluster::Kind;
use tidegate_core::{
    fleet::{EnvoyProxyId, Fleet, GatewayId},
    plan::Plan,
};
use tokio::time::Instant;

use super::{
    notice::GatewayNotice,
    object,
    steps::{Measure, Memory, Step, Steps, steps},
    write,
};
use crate::{
    context::{Context, Pass},
    events::{self, Events},
    writer::{Unwritten, Writer},
};

const ROUND: Duration = Duration::from_secs(1);
/// A write that failed is tried again after this.
const RETRY: Duration = Duration::from_secs(10);

/// Decides once a second, while this replica leads. `measure` gives the load of the listeners of each set of proxies.
pub async fn run(measure: Measure, context: Context) {
    let (memory, failed, gave) = (Memory::default(), HashMap::new(), BTreeMap::new());
    let reconciler = Reconciler { events: context.events(), measure, memory, failed, gave };
    context.every(ROUND, reconciler).await;
}

/// Brings EnvoyProxies to the state that the annotations of Gateways ask for.
struct Reconciler {
    events: Events<GatewayNotice>,
    measure: Measure,
    memory: Memory,
    /// By object, writes that failed: when, and what the error was
    failed: HashMap<String, (Instant, String)>,
    /// The EnvoyProxies that this process created for Gateways
    gave: BTreeMap<GatewayId, EnvoyProxyId>,
}

impl Pass for Reconciler {
    async fn pass(&mut self, plan: &Plan, context: &Context) -> Instant {
        let now = Instant::now();
        self.failed.retain(|_, (at, _)| now.duration_since(*at) < RETRY);
        let Steps { steps, mut notices } =
            context.watches.objects(|objects| steps(plan, objects, &mut self.memory, &self.measure, Utc::now(), now));
        for step in steps {
            let gives = if let Step::Create { gateway, .. } = &step { Some(gateway.clone()) } else { None };
            let written = self.carry_out(&context.writer, step).await;
            if let Some(gateway) = gives.filter(|_| written) {
                let envoy_proxy = object::own_envoy_proxy(&gateway);
                self.gave.insert(gateway, envoy_proxy);
            }
        }
        self.gave.retain(|gateway, _| plan.fleets.iter().any(|fleet| fleet.gateways.contains_key(gateway)));
        for (gateway, envoy_proxy) in &self.gave {
            notices.entry(gateway.clone()).or_default().push(GatewayNotice::GaveEnvoyProxy(envoy_proxy.clone()));
        }
        for fleet in &plan.fleets {
            self.add_failures(fleet, &mut notices);
        }
        self.report(plan, notices).await;
        now
    }

    fn forget(&mut self) {
        self.memory.clear();
        self.gave.clear();
    }
}

impl Reconciler {
    /// Carries out a step, unless a write to the same object has just failed. Returns whether it was written.
    async fn carry_out(&mut self, writer: &Writer, step: Step) -> bool {
        let object = step.object();
        if self.failed.contains_key(&object) {
            return false;
        }
        let error = match writer.write(write::request(writer, step)).await {
            Ok(()) => return true,
            Err(Unwritten::NotLeading) => return false,
            Err(error) => error.to_string(),
        };
        tracing::warn!(object, error, "a write failed");
        self.failed.insert(object, (Instant::now(), error));
        false
    }

    /// Reports failed writes to all Gateways of the fleet.
    fn add_failures(&self, fleet: &Fleet, notices: &mut BTreeMap<GatewayId, Vec<GatewayNotice>>) {
        let envoy_proxy = fleet.envoy_proxy.iter().map(ToString::to_string);
        for object in fleet.gateways.keys().map(ToString::to_string).chain(envoy_proxy) {
            let Some((_, error)) = self.failed.get(&object) else { continue };
            for id in fleet.gateways.keys() {
                notices.entry(id.clone()).or_default().push(GatewayNotice::Refused(error.clone()));
            }
        }
    }

    async fn report(&mut self, plan: &Plan, notices: BTreeMap<GatewayId, Vec<GatewayNotice>>) {
        let gateways: HashMap<_, _> = plan.fleets.iter().flat_map(|fleet| &fleet.gateways).collect();
        let reference = |id: &GatewayId| {
            let uid = gateways.get(id).map(|gateway| gateway.uid.clone());
            events::reference(Kind::Gateway, &id.namespace, &id.name, uid)
        };
        let all = notices.into_iter().map(|(id, notices)| (reference(&id), notices)).collect();
        self.events.publish_all(all).await;
    }
}
