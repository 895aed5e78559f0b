//! Follows the ConfigMaps with Envoy Gateway's configuration: which GatewayClasses are its own, and its defaults.

use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api, Client,
    runtime::{WatchStreamExt, watcher},
};
use serde_json::json;

use super::{Watches, settings::ConfigMapName};
use crate::writer::explained;

/// Follows one of them. It is asked for by its name alone: there is no permission for more.
pub(super) async fn follow(client: Client, watches: Watches, config_map: ConfigMapName) {
    let api = Api::<ConfigMap>::namespaced(client, &config_map.namespace);
    let only = watcher::Config::default().fields(&format!("metadata.name={}", config_map.name));
    let mut events = watcher(api, only).default_backoff().boxed();
    let (mut found, mut failed) = (false, false);
    loop {
        match events.try_next().await {
            Ok(Some(watcher::Event::InitApply(object) | watcher::Event::Apply(object))) => {
                found = true;
                apply(&watches, &config_map, &object);
            }
            Ok(Some(watcher::Event::InitDone)) => {
                if !found {
                    tracing::info!(%config_map, "there is no such ConfigMap: Envoy Gateway's defaults are assumed");
                }
                failed = false;
                watches.configured(&config_map);
            }
            Ok(Some(watcher::Event::Init)) => found = false,
            // Envoy Gateway goes on with what it has read, too.
            Ok(Some(watcher::Event::Delete(_))) => {}
            Ok(None) => return,
            Err(error) => {
                if !failed {
                    let error = cause(&error);
                    tracing::warn!(%config_map, error, "cannot read Envoy Gateway's configuration; what is known of it stays, or its defaults");
                }
                failed = true;
                if is_final(&error) {
                    watches.configured(&config_map);
                }
            }
        }
    }
}

fn apply(watches: &Watches, config_map: &ConfigMapName, object: &ConfigMap) {
    let object = json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"namespace": config_map.namespace, "name": config_map.name},
        "data": object.data,
    });
    match watches.change(|objects| objects.apply_leniently(object)) {
        Ok(Some(misread)) => {
            tracing::info!(%config_map, "has read Envoy Gateway's configuration");
            for field in misread {
                tracing::warn!(%config_map, %field, "a field of Envoy Gateway's configuration cannot be read");
            }
        }
        Ok(None) => tracing::warn!(%config_map, "has no key envoy-gateway.yaml: Envoy Gateway's defaults are assumed"),
        Err(error) => tracing::warn!(%config_map, %error, "what was known of it stays"),
    }
}

/// Whether the API server has answered, and will not answer otherwise soon.
fn is_final(error: &watcher::Error) -> bool {
    match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status)) => matches!(status.code, 401 | 403 | 404),
        _ => false,
    }
}

fn cause(error: &watcher::Error) -> String {
    match error {
        watcher::Error::InitialListFailed(cause)
        | watcher::Error::WatchStartFailed(cause)
        | watcher::Error::WatchFailed(cause) => explained(cause),
        watcher::Error::WatchError(status) => status.message.clone(),
        watcher::Error::NoResourceVersion => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::StatusCode;
    use serde_json::Value;
    use tokio::time::{sleep, timeout};

    use super::*;
    use crate::{
        fixture::{ApiServer, Scenario},
        watch::WatchSettings,
    };
    use tidegate_cluster::Objects;

    const CONTROLLER: &str = "example.com/eg";

    /// The watches after the ConfigMap was asked for once: whether a class of [`CONTROLLER`] is Envoy Gateway's.
    async fn knows_controller(server: &ApiServer) -> bool {
        let name: ConfigMapName = "eg/config".parse().unwrap();
        let settings = WatchSettings { config_maps: vec![name.clone()], ..WatchSettings::default() };
        let watches = Watches::new(&settings);
        assert!(watches.awaits_configuration());
        let following = tokio::spawn(follow(server.client(), watches.clone(), name));
        let answered = async {
            while watches.awaits_configuration() {
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(Duration::from_secs(10), answered).await.unwrap();
        following.abort();
        let listener = json!({"name": "http", "protocol": "HTTP", "port": 80});
        let rule = json!({"backendRefs": [{"kind": "Backend", "name": "not-there"}]});
        for (kind, spec) in [
            ("GatewayClass", json!({"controllerName": CONTROLLER})),
            ("Gateway", json!({"gatewayClassName": "eg", "listeners": [listener]})),
            ("HTTPRoute", json!({"parentRefs": [{"name": "eg"}], "rules": [rule]})),
        ] {
            let object = json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": kind, "metadata": {"name": "eg"}, "spec": spec});
            watches.change(|objects| objects.apply(object)).unwrap();
        }
        let routing = watches.objects(Objects::routing);
        !routing.not_followed.iter().any(|one| one.reason == "OtherController")
    }

    fn served(items: &Value) -> ApiServer {
        let server = ApiServer::default();
        let list =
            json!({"kind": "ConfigMapList", "apiVersion": "v1", "metadata": {"resourceVersion": "1"}, "items": items});
        server.change("/api/v1/namespaces/eg/configmaps", &list);
        server
    }

    #[tokio::test]
    async fn the_controller_name_of_the_config_map_is_known_before_anything_is_planned() {
        let text = format!(
            "apiVersion: gateway.envoyproxy.io/v1alpha1\nkind: EnvoyGateway\ngateway: {{controllerName: {CONTROLLER}}}\n"
        );
        let config_map =
            json!({"metadata": {"name": "config", "namespace": "eg"}, "data": {"envoy-gateway.yaml": text}});
        assert!(knows_controller(&served(&json!([config_map]))).await);
    }

    #[tokio::test]
    async fn without_it_or_the_permission_to_read_it_the_defaults_are_assumed() {
        assert!(!knows_controller(&served(&json!([]))).await);
        let forbidden = ApiServer::default();
        forbidden.play(Scenario::Answers(StatusCode::FORBIDDEN));
        assert!(!knows_controller(&forbidden).await);
    }
}
