//! GatewayClasses that are not Envoy Gateway's, as a reason why routes are not followed.

use std::collections::BTreeSet;

use super::{Objects, discovery, discovery::ForeignClass};

impl Objects {
    /// The classes of all Gateways, where there are Gateways and none of them is Envoy Gateway's: no route can be followed then.
    pub fn foreign_classes(&self) -> BTreeSet<ForeignClass> {
        discovery::foreign_classes(self)
    }

    /// The class of one Gateway, if it is not Envoy Gateway's.
    pub fn foreign_class(&self, namespace: &str, gateway: &str) -> Option<ForeignClass> {
        discovery::foreign_class(self, self.gateways.get(namespace)?.get(gateway)?)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const OTHER: &str = "example.com/other";

    fn class(name: &str, controller: &str) -> Value {
        json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "GatewayClass", "metadata": {"name": name},
            "spec": {"controllerName": controller}})
    }

    fn gateway(name: &str, class: &str) -> Value {
        json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway", "metadata": {"name": name, "namespace": "shop"},
            "spec": {"gatewayClassName": class, "listeners": [{"name": "http", "protocol": "HTTP", "port": 80}]}})
    }

    fn objects(all: impl IntoIterator<Item = Value>) -> Objects {
        let mut objects = Objects::default();
        for object in all {
            assert!(objects.apply(object).unwrap());
        }
        objects
    }

    #[test]
    fn a_class_of_another_controller_is_named_with_its_controller_and_the_flag() {
        let objects = objects([class("eg", OTHER), gateway("web", "eg")]);
        let told: Vec<_> = objects.foreign_classes().iter().map(ToString::to_string).collect();
        assert_eq!(
            told,
            [
                "GatewayClass eg is of controller example.com/other, which is not Envoy Gateway's. If it is one, name it: \
              --controller-name example.com/other"
            ]
        );
        assert_eq!(objects.foreign_class("shop", "web").map(|class| class.class).as_deref(), Some("eg"));
    }

    #[test]
    fn a_controller_that_is_named_is_envoy_gateways() {
        let mut objects = objects([class("eg", OTHER), gateway("web", "eg")]);
        objects.set_controller_names(vec![OTHER.to_owned()]);
        assert_eq!(objects.foreign_classes(), BTreeSet::new());
    }

    #[test]
    fn other_classes_are_nothing_to_report_where_one_is_envoy_gateways_or_unknown() {
        let objects = objects([class("other", OTHER), gateway("a", "other"), gateway("b", "not-in-these-files")]);
        assert_eq!(objects.foreign_classes(), BTreeSet::new());
    }
}
