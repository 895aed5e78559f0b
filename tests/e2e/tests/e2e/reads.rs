//! Reads of these tests, most of which are made without `kubectl`, against `kubectl`.

use anyhow::{Result, ensure};
use serde_json::Value;
use tidegate_e2e::scenario::{Scenario, task_api, until};

/// Objects without their type, which the items of a list do not have in the API; a list without its own metadata.
fn bare(mut object: Value) -> Value {
    let without_type = |object: &mut Value| {
        if let Some(object) = object.as_object_mut() {
            object.remove("apiVersion");
            object.remove("kind");
        }
    };
    without_type(&mut object);
    match object.get_mut("items").map(Value::take) {
        Some(Value::Array(mut items)) => {
            items.iter_mut().for_each(without_type);
            items.into()
        }
        _ => object,
    }
}

/// It needs neither Tidegate nor a turn: whatever other tests do, both have to be the same in the end.
#[tokio::test]
async fn objects_are_read_as_kubectl_reads_them() -> Result<()> {
    let scenario = Scenario::new("reads").await?;
    scenario.apply(&task_api("api", &[])).await?;
    let mut compared = 0;
    for args in [
        &["deployment", "api"][..],
        &["deployment/api", "--show-managed-fields"],
        &["deployments"],
        &["pods", "-l", "app=api,app!=web"],
        &["events", "--field-selector", "involvedObject.kind=Deployment,involvedObject.name=api"],
        &["statefulset"],
        &["hpa"],
        &["scaledobject"],
        &["gateway"],
        &["envoyproxy"],
        &["lease", "-A"],
        &["daemonset", "missing"],
    ] {
        until(&format!("{args:?} is the same for both"), async || {
            let by_kubectl = scenario.kubectl(&[&["get", "-o", "json"], args].concat()).await;
            let by_kubectl = by_kubectl.ok().and_then(|text| serde_json::from_str(&text).ok()).map(bare);
            let read = scenario.get(args).await.ok().map(bare);
            ensure!(read == by_kubectl, "{read:#?} is not {by_kubectl:#?}");
            compared += usize::from(read.is_some_and(|read| read.as_array().is_none_or(|items| !items.is_empty())));
            Ok(())
        })
        .await?;
    }
    ensure!(compared >= 5, "only {compared} of them were there");
    Ok(())
}
