//! The configurations of the Envoy Gateways of a cluster: which GatewayClasses are theirs, and what holds for all their Gateways.
//!
//! Without any configuration, one with Envoy Gateway's defaults is assumed.

use std::collections::BTreeMap;

use serde_json::Value;
use tidegate_core::yaml;

use super::{
    lenient,
    table::{Inserted, ObjectError, normalize},
    views::{EnvoyGateway, GatewayClass},
};

/// Key of the configuration in its ConfigMap, as Envoy Gateway's chart names it.
const KEY: &str = "envoy-gateway.yaml";

/// The configurations that are known, and further controllers.
#[derive(Debug, Default)]
pub(crate) struct EnvoyGateways {
    /// By source: a ConfigMap, or the controller's name for one that stands in a file by itself
    known: BTreeMap<String, EnvoyGateway>,
    /// Names of controllers that are Envoy Gateways with the default configuration
    named: Vec<String>,
    assumed: EnvoyGateway,
}

impl EnvoyGateways {
    /// Names further controllers, whose configuration is not known.
    pub(crate) fn set_controller_names(&mut self, names: Vec<String>) {
        self.named = names;
    }

    /// Takes in a configuration: an `EnvoyGateway`, or its ConfigMap (key `envoy-gateway.yaml`). A later one from the same source
    /// replaces it; an error leaves what was known.
    pub(crate) fn apply(&mut self, object: Value) -> Result<Inserted, ObjectError> {
        let (source, mut config) = match text_in_config_map(&object) {
            Some(text) => (Some(name_of(&object)), parsed(text)?),
            None => (None, object),
        };
        if !is_envoy_gateway(&config) {
            let wanted = "wants apiVersion gateway.envoyproxy.io/v1alpha1 and kind EnvoyGateway";
            return Err(ObjectError::EnvoyGateway(format!("{KEY}: {wanted}")));
        }
        normalize(&mut config);
        let (config, misread) = lenient::read::<EnvoyGateway>(&mut config).map_err(ObjectError::EnvoyGateway)?;
        let source = source.unwrap_or_else(|| config.controller_name().to_owned());
        let changed = self.known.get(&source) != Some(&config);
        self.known.insert(source, config);
        Ok(Inserted { changed, misread })
    }

    /// The configuration of the Envoy Gateway whose GatewayClasses have this controller name.
    pub(crate) fn of_controller(&self, name: &str) -> Option<&EnvoyGateway> {
        let known = self.known.values().find(|config| config.controller_name() == name);
        known.or_else(|| self.controllers().any(|controller| controller == name).then_some(&self.assumed))
    }

    /// The configuration for a Gateway: `None` if its class is another controller's. An unknown class may already be in the
    /// cluster when manifests are applied.
    pub(crate) fn of_class(&self, class: Option<&GatewayClass>) -> Option<&EnvoyGateway> {
        match class {
            Some(class) => self.of_controller(&class.spec.controller_name),
            None => Some(self.known.values().next().unwrap_or(&self.assumed)),
        }
    }

    /// The controller names of all of them.
    pub(crate) fn controllers(&self) -> impl Iterator<Item = &str> {
        let assumed = self.known.is_empty().then_some(&self.assumed);
        let configured = self.known.values().chain(assumed).map(EnvoyGateway::controller_name);
        configured.chain(self.named.iter().map(String::as_str))
    }

    /// Whether an extension server of one of them handles this kind, as a filter or a backend.
    pub(crate) fn is_extension(&self, group: &str, kind: &str) -> bool {
        self.known.values().any(|config| config.is_extension(group, kind))
    }

    /// Whether one of them takes `Backend` objects. Assumed where a configuration is not known: anyone who writes Backends has them
    /// enabled.
    pub(crate) fn backends_enabled(&self) -> bool {
        self.known.is_empty() || !self.named.is_empty() || self.known.values().any(EnvoyGateway::backends_enabled)
    }

    /// Whether one of them runs proxies as processes of its own host.
    pub(crate) fn run_on_host(&self) -> bool {
        self.known.values().any(EnvoyGateway::runs_on_host)
    }
}

/// Whether an object is a configuration: an `EnvoyGateway`, or the ConfigMap of one.
pub(crate) fn is_configuration(object: &Value) -> bool {
    is_envoy_gateway(object) || text_in_config_map(object).is_some()
}

fn is_envoy_gateway(object: &Value) -> bool {
    let text = |key: &str| object.get(key).and_then(Value::as_str).unwrap_or_default();
    text("apiVersion").starts_with("gateway.envoyproxy.io/") && text("kind") == "EnvoyGateway"
}

fn text_in_config_map(object: &Value) -> Option<&str> {
    let is_config_map = object.get("kind")?.as_str()? == "ConfigMap" && object.get("apiVersion")?.as_str()? == "v1";
    object.get("data").filter(|_| is_config_map)?.get(KEY)?.as_str()
}

fn parsed(text: &str) -> Result<Value, ObjectError> {
    yaml::read(text).map_err(|error| ObjectError::EnvoyGateway(format!("{KEY}: {error}")))
}

fn name_of(config_map: &Value) -> String {
    let text = |field: &str| config_map["metadata"][field].as_str().unwrap_or_default();
    format!("ConfigMap {}/{}", text("namespace"), text("name"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn config(controller: &str) -> Value {
        json!({"apiVersion": "gateway.envoyproxy.io/v1alpha1", "kind": "EnvoyGateway", "gateway": {"controllerName": controller}})
    }

    fn config_map(name: &str, text: &str) -> Value {
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "eg"}, "data": {KEY: text}})
    }

    fn controllers(all: &EnvoyGateways) -> Vec<&str> {
        all.controllers().collect()
    }

    const DEFAULT: &str = "gateway.envoyproxy.io/gatewayclass-controller";

    #[test]
    fn without_a_configuration_the_default_controller_is_assumed_beside_those_that_are_named() {
        let mut all = EnvoyGateways::default();
        all.set_controller_names(vec!["example.com/tenant".to_owned()]);
        assert_eq!(controllers(&all), [DEFAULT, "example.com/tenant"]);
    }

    #[test]
    fn several_configurations_stand_beside_each_other_and_one_source_has_one() {
        let mut all = EnvoyGateways::default();
        all.apply(config("example.com/a")).unwrap();
        let text = |name: &str| config("x").to_string().replace("\"x\"", &format!("\"{name}\""));
        all.apply(config_map("envoy-gateway-config", &text("example.com/b"))).unwrap();
        all.apply(config_map("envoy-gateway-config", &text("example.com/c"))).unwrap();
        assert_eq!(controllers(&all), ["example.com/c", "example.com/a"]);
        assert!(all.of_controller(DEFAULT).is_none());
    }

    #[test]
    fn a_configuration_that_cannot_be_read_leaves_what_was_known() {
        let mut all = EnvoyGateways::default();
        all.apply(config_map("a", &config("example.com/a").to_string())).unwrap();
        for (text, wanted) in [("a: [", "envoy-gateway.yaml: "), ("kind: Pod", "wants apiVersion")] {
            let error = all.apply(config_map("a", text)).unwrap_err().to_string();
            assert!(error.contains(wanted), "{error}");
        }
        assert_eq!(controllers(&all), ["example.com/a"]);
    }

    #[test]
    fn any_other_config_map_means_nothing() {
        let other = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"a": "b"}});
        assert!(!is_configuration(&other));
    }
}
