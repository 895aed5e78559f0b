//! InferencePools by name, of both API groups.

use tidegate_core::ids::ServiceId;

use super::super::{Kind, Objects, views::InferencePool};

/// The pool that a backendRef names.
pub(super) fn pool<'a>(objects: &'a Objects, group: &str, namespace: &str, name: &str) -> Option<&'a InferencePool> {
    let table = match group {
        _ if group == Kind::InferencePool.api_group() => &objects.inference_pools,
        _ if group == Kind::XInferencePool.api_group() => &objects.x_inference_pools,
        _ => return None,
    };
    table.get(namespace)?.get(name)
}

/// The pool of this name; the new API group takes precedence over the old.
pub(crate) fn pool_of<'a>(objects: &'a Objects, id: &ServiceId) -> Option<&'a InferencePool> {
    let groups = [Kind::InferencePool, Kind::XInferencePool];
    groups.iter().find_map(|kind| pool(objects, kind.api_group(), &id.namespace, &id.name))
}
