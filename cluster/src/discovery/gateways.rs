//! The Gateways that are Envoy Gateway's, with the EnvoyProxy of each and all their listeners.

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap},
};

use super::{
    super::{
        Objects,
        views::{
            Address, EnvoyGateway, EnvoyProxySpec, FromNamespaces, Gateway, GatewayClass, LabelSelector, Labels,
            ListenerSet,
        },
    },
    contexts::{GatewayContext, ListenerContext},
    grants::Grants,
    listeners,
    parent_refusal::{GatewayRefusal, ParentId, ParentRefusal, SetRefusal},
};

/// Every Gateway that Envoy Gateway manages, oldest first.
pub(super) struct Gateways<'a> {
    pub(super) all: Vec<GatewayContext<'a>>,
    by_name: HashMap<(&'a str, &'a str), usize>,
    by_listener_set: HashMap<(&'a str, &'a str), usize>,
    refused: HashMap<(&'a str, &'a str), GatewayRefusal<'a>>,
    refused_sets: HashMap<(&'a str, &'a str), (ParentId<'a>, SetRefusal)>,
}

impl<'a> Gateways<'a> {
    pub(super) fn of(objects: &'a Objects, grants: &Grants<'_>) -> Self {
        let mut gateways: Vec<_> = objects.gateways.values().flat_map(BTreeMap::values).collect();
        gateways.sort_by(|a, b| a.metadata.age_order().cmp(&b.metadata.age_order()));
        let (mut all, mut refused) = (Vec::with_capacity(gateways.len()), HashMap::new());
        for gateway in gateways {
            match context(objects, gateway) {
                Ok(context) => all.push(context),
                Err(refusal) => _ = refused.insert(gateway.metadata.key(), refusal),
            }
        }
        let by_name: HashMap<_, _> = all.iter().enumerate().map(|(i, g)| ((g.namespace, g.name), i)).collect();
        let (by_listener_set, refused_sets) = attach_listener_sets(objects, &mut all, &by_name);
        listeners::validate(&mut all, grants);
        Self { all, by_name, by_listener_set, refused, refused_sets }
    }

    /// Why routes of this Gateway are not followed.
    pub(super) fn refusal(&self, id: ParentId<'a>) -> ParentRefusal<'a> {
        let refused = self.refused.get(&(id.namespace, id.name));
        let namesake = || self.all.iter().find(|gateway| gateway.name == id.name).map(|gateway| gateway.namespace);
        refused.map_or_else(|| ParentRefusal::NotFound(id, namesake()), |refusal| ParentRefusal::Gateway(id, *refusal))
    }

    /// Why routes of this ListenerSet are not followed.
    pub(super) fn refusal_of_set(&self, id: ParentId<'a>) -> ParentRefusal<'a> {
        let refused = self.refused_sets.get(&(id.namespace, id.name));
        refused.map_or(ParentRefusal::NotFound(id, None), |(gateway, refusal)| {
            ParentRefusal::ListenerSet(id, *gateway, *refusal)
        })
    }

    pub(super) fn get(&self, namespace: &str, name: &str) -> Option<(usize, &GatewayContext<'a>)> {
        let index = *self.by_name.get(&(namespace, name))?;
        Some((index, self.all.get(index)?))
    }

    /// The Gateway that a ListenerSet is attached to.
    pub(super) fn of_listener_set(&self, namespace: &str, name: &str) -> Option<(usize, &GatewayContext<'a>)> {
        let index = *self.by_listener_set.get(&(namespace, name))?;
        Some((index, self.all.get(index)?))
    }
}

/// `GetRelevantGateways`
fn context<'a>(objects: &'a Objects, gateway: &'a Gateway) -> Result<GatewayContext<'a>, GatewayRefusal<'a>> {
    let class = objects.gateway_classes.get("").and_then(|classes| classes.get(&gateway.spec.gateway_class_name));
    let config = match (objects.envoy_gateways.of_class(class), class) {
        (Some(config), _) => config,
        (None, class) => {
            let (class, controller) =
                class.map_or(("", ""), |class| (&*class.metadata.name, &*class.spec.controller_name));
            return Err(GatewayRefusal::OtherController { class, controller });
        }
    };
    if !watches(objects, config, &gateway.metadata.namespace) {
        return Err(GatewayRefusal::NotWatched);
    }
    let NearestProxy { spec: proxy, object: proxy_object, missing: missing_proxy, merged } =
        envoy_proxy(objects, config, gateway, class);
    if !gateway.spec.addresses.iter().all(Address::is_supported) {
        return Err(GatewayRefusal::Address);
    }
    if merged && proxy.merge_backends.is_some() {
        return Err(GatewayRefusal::MergesBoth);
    }
    let own = gateway.spec.listeners.iter();
    let own = own.map(|listener| ListenerContext::new(listener, &gateway.metadata.namespace, None));
    Ok(GatewayContext {
        config,
        namespace: &gateway.metadata.namespace,
        name: &gateway.metadata.name,
        proxy,
        proxy_object,
        missing_proxy,
        class: &gateway.spec.gateway_class_name,
        merged,
        listeners: own.collect(),
    })
}

/// Whether an Envoy Gateway sees the objects of a namespace.
pub(super) fn watches(objects: &Objects, config: &EnvoyGateway, namespace: &str) -> bool {
    let known = objects.namespaces.get("").and_then(|names| names.get(namespace));
    config.watches(namespace, known.map(|known| &known.metadata.labels))
}

/// Configuration of a Gateway's proxies.
struct NearestProxy<'a> {
    spec: Cow<'a, EnvoyProxySpec>,
    object: Option<(&'a str, &'a str)>,
    missing: Option<(&'a str, &'a str)>,
    merged: bool,
}

/// The EnvoyProxy that applies to a Gateway, and whether its class merges Gateways (`MergeEnvoyProxyConfigs`).
fn envoy_proxy<'a>(
    objects: &'a Objects,
    config: &'a EnvoyGateway,
    gateway: &'a Gateway,
    class: Option<&'a GatewayClass>,
) -> NearestProxy<'a> {
    let find = |namespace: &str, name: &str| Some(&objects.envoy_proxies.get(namespace)?.get(name)?.spec);
    let of_default = config.envoy_proxy.as_ref();
    let of_class = class.and_then(|class| class.spec.parameters_ref.as_ref()).filter(|r| r.is_envoy_proxy());
    let named_by_class = of_class.map(|r| (r.namespace.as_deref().unwrap_or("default"), r.name.as_str()));
    let of_class = named_by_class.and_then(|(namespace, name)| find(namespace, name));
    let merged = [of_class, of_default].into_iter().flatten().find_map(|proxy| proxy.merge_gateways).unwrap_or(false);
    // With merged Gateways the proxies belong to the class, and no Gateway can configure them.
    let of_gateway = gateway.parameters_ref().filter(|r| r.is_envoy_proxy() && !merged);
    let named_by_gateway = of_gateway.map(|r| (gateway.metadata.namespace.as_str(), r.name.as_str()));
    let of_gateway = named_by_gateway.and_then(|(namespace, name)| find(namespace, name));
    let nearest = named_by_gateway.zip(Some(of_gateway)).or(named_by_class.zip(Some(of_class)));
    let object = nearest.and_then(|(named, found)| found.map(|_| named));
    let missing = nearest.and_then(|(named, found)| found.is_none().then_some(named));

    let first_step = overlay(of_class.map(Cow::Borrowed), of_gateway.map(Cow::Borrowed), merge_type(of_gateway));
    let second_merge = merge_type(of_class).or_else(|| merge_type(of_gateway));
    let proxy = overlay(of_default.map(Cow::Borrowed), first_step, second_merge);
    NearestProxy { spec: proxy.unwrap_or_default(), object, missing, merged }
}

fn merge_type(proxy: Option<&EnvoyProxySpec>) -> Option<&str> {
    proxy?.merge_type.as_deref()
}

fn overlay<'a>(
    base: Option<Cow<'a, EnvoyProxySpec>>,
    over: Option<Cow<'a, EnvoyProxySpec>>,
    merge_type: Option<&str>,
) -> Option<Cow<'a, EnvoyProxySpec>> {
    match (base, over) {
        (Some(base), Some(over)) if matches!(merge_type, Some("StrategicMerge" | "JSONMerge")) => {
            Some(Cow::Owned(over.over(&base)))
        }
        (base, over) => over.or(base),
    }
}

/// ListenerSets by namespace and name: the index of the Gateway, or the Gateway that is named and why it has not got them.
type AttachedSets<'a> = (HashMap<(&'a str, &'a str), usize>, HashMap<(&'a str, &'a str), (ParentId<'a>, SetRefusal)>);

/// `ProcessListenerSets`
fn attach_listener_sets<'a>(
    objects: &'a Objects,
    gateways: &mut [GatewayContext<'a>],
    by_name: &HashMap<(&str, &str), usize>,
) -> AttachedSets<'a> {
    let mut sets: Vec<&ListenerSet> = objects.listener_sets.values().flat_map(BTreeMap::values).collect();
    sets.sort_by(|a, b| a.metadata.age_order().cmp(&b.metadata.age_order()));
    let (mut attached, mut refused) = (HashMap::new(), HashMap::new());
    for set in sets {
        let (meta, parent) = (&set.metadata, &set.spec.parent_ref);
        let parent_namespace = parent.namespace.as_deref().filter(|ns| !ns.is_empty()).unwrap_or(&meta.namespace);
        let id = ParentId { kind: "Gateway", namespace: parent_namespace, name: &parent.name };
        let index = by_name.get(&(parent_namespace, parent.name.as_str())).copied();
        let gateway = objects.gateways.get(parent_namespace).and_then(|names| names.get(&parent.name));
        let context = index.and_then(|index| Some((index, gateways.get_mut(index)?)));
        let Some((gateway, (index, context))) = gateway.zip(context) else {
            refused.insert(meta.key(), (id, SetRefusal::NoGateway));
            continue;
        };
        if !allows_listener_set(objects, gateway, &meta.namespace) {
            refused.insert(meta.key(), (id, SetRefusal::NotAllowed));
            continue;
        }
        attached.insert(meta.key(), index);
        let listeners = set.spec.listeners.iter();
        context
            .listeners
            .extend(listeners.map(|listener| ListenerContext::new(listener, &meta.namespace, Some(meta.key()))));
    }
    (attached, refused)
}

/// `isListenerSetAllowed`: none is allowed unless the Gateway says so.
fn allows_listener_set(objects: &Objects, gateway: &Gateway, namespace: &str) -> bool {
    let Some(FromNamespaces { from, selector }) = gateway.allowed_listeners() else { return false };
    match from.as_deref() {
        Some("All") => true,
        Some("Same") => gateway.metadata.namespace == namespace,
        Some("Selector") => selector.as_ref().is_some_and(|selector| may_select(objects, selector, namespace)),
        _ => false,
    }
}

/// Whether a selector selects a Namespace. The labels of an unknown one (from files, or not listed yet) are unknown, except the
/// one that Kubernetes sets on all, and may be what the selector wants.
pub(super) fn may_select(objects: &Objects, selector: &LabelSelector, namespace: &str) -> bool {
    match objects.namespaces.get("").and_then(|names| names.get(namespace)) {
        Some(known) => selector.matches(&known.metadata.labels),
        None => selector.may_match(&namespace_labels(objects, namespace)),
    }
}

/// The labels of a Namespace. An unknown one is assumed to exist, with the label that Kubernetes sets on all.
pub(super) fn namespace_labels<'a>(objects: &'a Objects, namespace: &str) -> Cow<'a, Labels> {
    match objects.namespaces.get("").and_then(|names| names.get(namespace)) {
        Some(known) => Cow::Borrowed(&known.metadata.labels),
        None => Cow::Owned(Labels::from_iter([("kubernetes.io/metadata.name".to_owned(), namespace.to_owned())])),
    }
}
