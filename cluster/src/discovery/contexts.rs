//! Gateways and listeners, with everything that decides which routes attach to them.

use std::{borrow::Cow, sync::Arc};

use super::{
    super::views::{EnvoyGateway, EnvoyProxySpec, Listener, MergeBackends},
    parent_refusal::{Conflict, ListenerFault, ListenerRefusal},
};

/// A Gateway and its configuration.
pub(super) struct GatewayContext<'a> {
    /// The configuration of the Envoy Gateway that manages it
    pub(super) config: &'a EnvoyGateway,
    pub(super) namespace: &'a str,
    pub(super) name: &'a str,
    /// Effective EnvoyProxy spec, combined from those of the Gateway, of its class and of Envoy Gateway's configuration
    pub(super) proxy: Cow<'a, EnvoyProxySpec>,
    /// The nearest EnvoyProxy, if it exists as an object: namespace and name
    pub(super) proxy_object: Option<(&'a str, &'a str)>,
    /// The EnvoyProxy that the Gateway or its class names, if it does not exist
    pub(super) missing_proxy: Option<(&'a str, &'a str)>,
    /// Name of the GatewayClass
    pub(super) class: &'a str,
    /// Whether the class merges its Gateways into one set of proxies
    pub(super) merged: bool,
    /// The Gateway's own listeners, then those of its ListenerSets, oldest first
    pub(super) listeners: Vec<ListenerContext<'a>>,
}

/// A listener, and whether it is usable.
pub(super) struct ListenerContext<'a> {
    pub(super) listener: &'a Listener,
    /// Namespace and name of the ListenerSet that it comes from
    pub(super) set: Option<(&'a str, &'a str)>,
    /// Where it is defined: the namespace of the Gateway or the ListenerSet
    pub(super) namespace: &'a str,
    /// What is wrong with its own definition
    pub(super) fault: Option<ListenerFault>,
    /// The kinds of route that may attach
    pub(super) kinds: Vec<&'static str>,
    /// The conflict with another listener that it lost
    pub(super) conflict: Option<Conflict>,
    /// Whether it lost its hostname to another listener of the port; then that hostname is not excluded from routes on other listeners
    pub(super) lost_hostname: bool,
}

impl<'a> ListenerContext<'a> {
    /// A listener that nothing is known against yet.
    pub(super) fn new(listener: &'a Listener, namespace: &'a str, set: Option<(&'a str, &'a str)>) -> Self {
        Self { listener, set, namespace, fault: None, kinds: Vec::new(), conflict: None, lost_hostname: false }
    }

    /// Whether Envoy listens there.
    pub(super) fn is_ready(&self) -> bool {
        self.refusal().is_none()
    }

    /// Why Envoy does not listen there.
    pub(super) fn refusal(&self) -> Option<ListenerRefusal<'a>> {
        self.fault.map(ListenerRefusal::Invalid).or_else(|| self.conflict.map(ListenerRefusal::Conflicted))
    }

    /// Records a lost conflict; the first is the reason.
    pub(super) fn loses(&mut self, conflict: Conflict) {
        self.conflict.get_or_insert(conflict);
    }
}

impl<'a> GatewayContext<'a> {
    /// The name of its set of proxies.
    pub(super) fn series(&self) -> Arc<str> {
        super::series(self.merging_class(), self.namespace, self.name)
    }

    /// The class, if it merges its Gateways into one set of proxies.
    pub(super) fn merging_class(&self) -> Option<&'a str> {
        self.merged.then_some(self.class)
    }

    /// The backends that get one merged cluster each, if `mergeBackends` is set.
    pub(super) fn merge_backends(&self) -> Option<&MergeBackends> {
        self.proxy.merge_backends.as_ref()
    }
}
