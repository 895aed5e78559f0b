//! Fields of objects as JSON.

use serde_json::Value;

/// The value of an argument of a Deployment's first container.
pub(super) fn argument(deployment: &Value, flag: &str) -> Option<String> {
    arguments(deployment, flag).into_iter().next()
}

/// The values of an argument that may be repeated.
pub(super) fn arguments(deployment: &Value, flag: &str) -> Vec<String> {
    let args = deployment["spec"]["template"]["spec"]["containers"][0]["args"].as_array();
    let args = args.into_iter().flatten().filter_map(Value::as_str);
    args.filter_map(|arg| Some(arg.strip_prefix(flag)?.strip_prefix('=')?.to_owned())).collect()
}

pub(super) fn name(object: &Value) -> &str {
    text(&object["metadata"]["name"])
}

pub(super) fn namespace(object: &Value) -> &str {
    text(&object["metadata"]["namespace"])
}

pub(super) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
