//! Side-cars as Kubernetes has them: init containers that are started again for ever, run beside the others and end after them.

use k8s_openapi::api::core::v1::{Container, PodSpec};

/// The containers that run: side-cars first, as a kubelet starts them. Init containers that end are left out.
pub(super) fn with_sidecars(spec: &PodSpec) -> impl Iterator<Item = &Container> {
    let sidecars = spec.init_containers.iter().flatten().filter(|container| is_sidecar(container));
    sidecars.chain(&spec.containers)
}

/// Whether a container is a side-car: only init containers may have this policy of their own.
pub(super) fn is_sidecar(container: &Container) -> bool {
    container.restart_policy.as_deref() == Some("Always")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn side_cars_are_started_first_and_init_containers_that_end_are_left_out() {
        let spec: PodSpec = serde_json::from_value(json!({
            "initContainers": [{ "name": "once" }, { "name": "beside", "restartPolicy": "Always" }],
            "containers": [{ "name": "main" }],
        }))
        .unwrap();
        let names: Vec<_> = with_sidecars(&spec).map(|container| container.name.as_str()).collect();
        assert_eq!(names, ["beside", "main"]);
    }
}
