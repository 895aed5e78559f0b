//! A Gateway and a listener with all that decides which routes they take.

use std::{borrow::Cow, sync::Arc};

use super::super::views::{EnvoyProxySpec, Listener, MergeBackends};

/// A Gateway with what configures it.
pub(super) struct GatewayContext<'a> {
    pub(super) namespace: &'a str,
    pub(super) name: &'a str,
    /// The EnvoyProxy of the Gateway, of its class and of Envoy Gateway's configuration, in one
    pub(super) proxy: Cow<'a, EnvoyProxySpec>,
    /// The nearest EnvoyProxy that there is an object of, by namespace and name
    pub(super) proxy_object: Option<(&'a str, &'a str)>,
    /// The EnvoyProxy that the Gateway or its class names and that does not exist
    pub(super) missing_proxy: Option<(&'a str, &'a str)>,
    /// Whether the class merges its Gateways into one set of proxies
    pub(super) class: &'a str,
    pub(super) merged: bool,
    /// The Gateway's own listeners, then those of its ListenerSets, oldest first
    pub(super) listeners: Vec<ListenerContext<'a>>,
}

/// A listener, and whether it is fit for use.
pub(super) struct ListenerContext<'a> {
    pub(super) listener: &'a Listener,
    /// Namespace and name of the ListenerSet that it comes from
    pub(super) set: Option<(&'a str, &'a str)>,
    /// Where it is defined: the namespace of the Gateway or the ListenerSet
    pub(super) namespace: &'a str,
    /// Its own definition is right
    pub(super) valid: bool,
    /// The kinds of route that it takes
    pub(super) kinds: Vec<&'static str>,
    /// Another listener won
    pub(super) conflicted: bool,
    /// Another listener of the port won its hostname, so its hostname takes nothing from others' routes
    pub(super) lost_hostname: bool,
}

impl ListenerContext<'_> {
    /// Whether Envoy listens there.
    pub(super) fn is_ready(&self) -> bool {
        self.valid && !self.conflicted
    }
}

impl<'a> GatewayContext<'a> {
    /// The set of its proxies.
    pub(super) fn series(&self) -> Arc<str> {
        super::series(self.merging_class(), self.namespace, self.name)
    }

    /// The class, where that merges its Gateways into one set of proxies.
    pub(super) fn merging_class(&self) -> Option<&'a str> {
        self.merged.then_some(self.class)
    }

    /// What is merged into clusters of its own per backend, if anything.
    pub(super) fn merge_backends(&self) -> Option<&MergeBackends> {
        self.proxy.merge_backends.as_ref()
    }
}
