//! Annotated Gateways, grouped by the EnvoyProxy that sets their number of proxies.

use std::{collections::BTreeMap, sync::Arc};

use serde::Deserialize;
use tidegate_core::{
    calendar::Calendars,
    fleet::{EnvoyProxyId, Fleet, GatewayId, PlannedGateway, Scaling},
    intent::{Annotations, GatewayIntent, applied, is_annotated},
    key::{APPLIED_IN_STATUS, Key, Place, STATUS},
    plan::ADOPTED_REPLICAS,
    problem::Problem,
};

use super::{
    super::{
        Objects,
        discovery::{self, Front},
        views::{EnvoyProxySpec, Gateway, Workload},
    },
    proxies::fleet_of_deployment,
};

/// Every fleet with at least one annotated Gateway.
pub(super) fn fleets(objects: &Objects, calendars: &Calendars) -> Vec<Fleet> {
    let mut gateways = objects.gateways.values().flat_map(BTreeMap::values);
    if !gateways.any(|gateway| is_annotated(&gateway.metadata.annotations)) {
        return Vec::new();
    }
    let mut groups = BTreeMap::<Together<'_>, Vec<Front<'_>>>::new();
    for front in discovery::fronts(objects) {
        groups.entry(Together::of(objects, &front)).or_default().push(front);
    }
    groups.into_values().filter_map(|fronts| fleet(objects, &fronts, calendars)).collect()
}

/// Key of a group of Gateways that form one fleet.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Together<'a> {
    EnvoyProxy(&'a str, &'a str),
    Class(&'a str),
    Alone(&'a str, &'a str),
}

impl<'a> Together<'a> {
    fn of(objects: &Objects, front: &Front<'a>) -> Self {
        match (front.envoy_proxy, front.class) {
            (Some((namespace, name)), _) if !is_to_get_its_own(objects, front) => Self::EnvoyProxy(namespace, name),
            (None, Some(class)) => Self::Class(class),
            _ => Self::Alone(front.namespace, front.name),
        }
    }
}

/// Whether a Gateway asks for an EnvoyProxy of its own, and names none itself.
fn is_to_get_its_own(objects: &Objects, front: &Front<'_>) -> bool {
    front.class.is_none()
        && gateway(objects, front).is_some_and(|gateway| {
            let asked = gateway.metadata.annotations.get(Key::CreateEnvoyProxy.annotation());
            gateway.parameters_ref().is_none() && asked == Some("true")
        })
}

fn gateway<'a>(objects: &'a Objects, front: &Front<'_>) -> Option<&'a Gateway> {
    objects.gateways.get(front.namespace)?.get(front.name)
}

fn fleet(objects: &Objects, fronts: &[Front<'_>], calendars: &Calendars) -> Option<Fleet> {
    let first = fronts.first()?;
    let series: std::collections::BTreeSet<_> = fronts.iter().map(Front::series).collect();
    let series: Vec<_> = series.into_iter().collect();
    let own = is_to_get_its_own(objects, first);
    let id = |(namespace, name): (&str, &str)| EnvoyProxyId { namespace: namespace.to_owned(), name: name.to_owned() };
    let envoy_proxy = first.envoy_proxy.filter(|_| !own).map(id);
    let object = envoy_proxy.as_ref().and_then(|id| objects.envoy_proxies.get(&id.namespace)?.get(&id.name));
    let adopted = object.and_then(|object| object.metadata.annotations.get(ADOPTED_REPLICAS));
    let deployments = deployments(objects, &series);
    let scaling = scaling(&first.spec);
    let current = match scaling {
        Scaling::Replicas(Some(replicas)) => replicas,
        _ => deployments.iter().map(|deployment| deployment.replicas().wanted).max().unwrap_or(1),
    };
    let floor = floor_at_adoption(adopted, scaling, current);
    let mut gateways = BTreeMap::new();
    let mut bystanders = Vec::new();
    for front in fronts {
        let id = GatewayId { namespace: front.namespace.to_owned(), name: front.name.to_owned() };
        let planned = gateway(objects, front).and_then(|gateway| planned(objects, gateway, &id, floor, calendars));
        match planned {
            Some(planned) => _ = gateways.insert(id, planned),
            None => bystanders.push(id),
        }
    }
    (!gateways.is_empty()).then(|| Fleet {
        envoy_proxy,
        may_create: first.class.is_none() && first.missing.is_none() && (own || first.envoy_proxy.is_none()),
        missing: first.missing.map(id),
        gateways,
        bystanders,
        series,
        scaling,
        current,
        requests: deployments.first().map(|deployment| deployment.requests()).unwrap_or_default(),
        adopted: adopted.map(str::to_owned),
        drain: first.spec.shutdown.drain_timeout(),
    })
}

fn scaling(spec: &EnvoyProxySpec) -> Scaling {
    let kubernetes = &spec.provider.kubernetes;
    if kubernetes.envoy_daemon_set.is_some() {
        Scaling::DaemonSet
    } else if let Some(hpa) = &kubernetes.envoy_hpa {
        let max = hpa.max_replicas.unwrap_or(1);
        Scaling::Hpa { min: hpa.min_replicas.unwrap_or(1), max }
    } else {
        Scaling::Replicas(kubernetes.envoy_deployment.as_ref().and_then(|deployment| deployment.replicas))
    }
}

/// The Deployments that Envoy Gateway created for these sets of proxies, where they are visible.
fn deployments<'a>(objects: &'a Objects, series: &[Arc<str>]) -> Vec<&'a Workload> {
    let deployments =
        objects.deployments.iter().flat_map(|(namespace, names)| names.values().map(move |d| (namespace, d)));
    let ours = deployments.filter(|(namespace, deployment)| {
        fleet_of_deployment(objects, namespace, deployment.pod_labels()).is_some_and(|of| series.contains(&of))
    });
    ours.map(|(_, deployment)| deployment).collect()
}

/// Floor inside hours of a Gateway that asks for nothing but hours: the number of proxies at adoption, recorded as `3` or `2-10`.
fn floor_at_adoption(adopted: Option<&str>, scaling: Scaling, current: u32) -> u32 {
    let kept = adopted.and_then(|text| text.split('-').next()?.parse().ok());
    let found = if let Scaling::Hpa { min, .. } = scaling { min } else { current };
    kept.unwrap_or(found).max(1)
}

fn planned(
    objects: &Objects,
    gateway: &Gateway,
    id: &GatewayId,
    floor_at_adoption: u32,
    calendars: &Calendars,
) -> Option<PlannedGateway> {
    let annotations = &gateway.metadata.annotations;
    let defaults = objects.namespace_defaults(&id.namespace);
    let new = |intent: Result<GatewayIntent, Vec<Problem>>, problems, applied| {
        let (mut calendar, mut schedule) = (None, None);
        let intent = intent.and_then(|intent| {
            calendar = intent.schedule.as_ref().and_then(|schedule| schedule.calendar.clone());
            let floor = if intent.adopts() { floor_at_adoption } else { intent.min.unwrap_or(1).max(1) };
            schedule =
                intent.schedule(&id.to_string(), floor, calendars).map_err(|problem| vec![problem])?.map(Arc::new);
            Ok(intent)
        });
        let status = annotations.get(STATUS).map(str::to_owned);
        PlannedGateway { uid: gateway.metadata.uid.clone(), intent, problems, applied, schedule, calendar, status }
    };
    let intent = GatewayIntent::of_gateway(annotations, &id.namespace, defaults).transpose()?;
    let planned = new(intent, Vec::new(), applied(annotations, defaults, Place::Gateway));
    let Err(problems) = &planned.intent else { return Some(planned) };
    // While the annotations are invalid, those that were applied before still apply.
    let before = applied_before(annotations).and_then(|applied| {
        let planned = new(Ok(GatewayIntent::of_applied(&applied)?), problems.clone(), applied);
        planned.intent.is_ok().then_some(planned)
    });
    Some(before.unwrap_or(planned))
}

fn applied_before(annotations: &Annotations) -> Option<Annotations> {
    let status: serde_json::Value = serde_json::from_str(annotations.get(STATUS)?).ok()?;
    Annotations::deserialize(status.get(APPLIED_IN_STATUS)?).ok()
}
