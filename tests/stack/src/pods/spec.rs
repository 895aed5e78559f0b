//! A container's command and environment, as a kubelet derives them from the pod.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use k8s_openapi::{
    ByteString,
    api::core::v1::{ConfigMap, Container, EnvVarSource, ObjectFieldSelector, Pod, Secret},
};
use kube::{Api, Client, ResourceExt};

use crate::network::API_SERVER;

/// Folder of programs inside a pod.
pub(super) const PROGRAMS: &str = "/program";

/// Names and values of variables, in the container's order.
pub(super) type Env = Vec<(String, String)>;

/// The environment of a container.
pub(super) async fn env(client: &Client, pod: &Pod, container: &Container, ip: &str) -> Result<Env> {
    let mut env = vec![
        ("PATH".to_owned(), format!("{PROGRAMS}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")),
        ("HOSTNAME".to_owned(), pod.name_any()),
        ("KUBERNETES_SERVICE_HOST".to_owned(), API_SERVER.to_string()),
        ("KUBERNETES_SERVICE_PORT".to_owned(), "443".to_owned()),
    ];
    for variable in container.env.iter().flatten() {
        let value = match (&variable.value, &variable.value_from) {
            (Some(value), _) => Some(expand(value, &env)),
            (None, Some(source)) => {
                let value = from_source(client, pod, source, ip).await;
                value.with_context(|| format!("environment variable {}", variable.name))?
            }
            (None, None) => Some(String::new()),
        };
        env.extend(value.map(|value| (variable.name.clone(), value)));
    }
    Ok(env)
}

/// Program and arguments of a container whose image stands for `program`.
pub(super) fn command(container: &Container, program: &str, env: &[(String, String)]) -> Vec<String> {
    let mut words = container.command.iter().flatten().chain(container.args.iter().flatten());
    let first = match &container.command {
        Some(command) if !command.is_empty() => {
            words.next();
            let first = expand(&command[0], env);
            // Its place in the image: `/bin/ratelimit`.
            let is_program = first.starts_with('/') && first.rsplit('/').next() == Some(program);
            if is_program { format!("{PROGRAMS}/{program}") } else { first }
        }
        _ => format!("{PROGRAMS}/{program}"),
    };
    std::iter::once(first).chain(words.map(|word| expand(word, env))).collect()
}

/// Replaces `$(NAME)` with the variable's value, and `$$` with a dollar; an unknown name stays as it is.
fn expand(text: &str, env: &[(String, String)]) -> String {
    let mut expanded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(dollar) = rest.find('$') {
        expanded.push_str(&rest[..dollar]);
        rest = &rest[dollar..];
        if let Some(after) = rest.strip_prefix("$$") {
            expanded.push('$');
            rest = after;
        } else if let Some((name, after)) = rest.strip_prefix("$(").and_then(|rest| rest.split_once(')')) {
            match env.iter().rev().find(|(known, _)| known == name) {
                Some((_, value)) => expanded.push_str(value),
                None => expanded.push_str(&rest[..rest.len() - after.len()]),
            }
            rest = after;
        } else {
            expanded.push('$');
            rest = &rest[1..];
        }
    }
    expanded + rest
}

async fn from_source(client: &Client, pod: &Pod, source: &EnvVarSource, ip: &str) -> Result<Option<String>> {
    let namespace = pod.namespace().unwrap_or_default();
    if let Some(field) = &source.field_ref {
        return self::field(pod, field, ip).map(Some);
    }
    if let Some(wanted) = &source.secret_key_ref {
        let secret = Api::<Secret>::namespaced(client.clone(), &namespace).get_opt(&wanted.name).await?;
        let value = secret.and_then(|secret| secret.data).and_then(|mut data| data.remove(&wanted.key));
        let value = value.map(|ByteString(bytes)| String::from_utf8(bytes)).transpose()?;
        return found(value, wanted.optional, &format!("key {} of Secret {}", wanted.key, wanted.name));
    }
    if let Some(wanted) = &source.config_map_key_ref {
        let map = Api::<ConfigMap>::namespaced(client.clone(), &namespace).get_opt(&wanted.name).await?;
        let value = map.and_then(|map| map.data).and_then(|mut data| data.remove(&wanted.key));
        return found(value, wanted.optional, &format!("key {} of ConfigMap {}", wanted.key, wanted.name));
    }
    bail!("only fieldRef, secretKeyRef and configMapKeyRef are known here")
}

fn found(value: Option<String>, optional: Option<bool>, what: &str) -> Result<Option<String>> {
    if value.is_none() && optional != Some(true) {
        bail!("there is no {what}");
    }
    Ok(value)
}

/// A field of the downward API. `ip` is the pod's address, which its object may not have yet.
pub(super) fn field(pod: &Pod, field: &ObjectFieldSelector, ip: &str) -> Result<String> {
    let path = field.field_path.as_str();
    let spec = pod.spec.clone().unwrap_or_default();
    Ok(match path {
        "metadata.name" => pod.name_any(),
        "metadata.namespace" => pod.namespace().unwrap_or_default(),
        "metadata.uid" => pod.uid().unwrap_or_default(),
        "metadata.labels" => lines(pod.labels()),
        "metadata.annotations" => lines(pod.annotations()),
        "spec.nodeName" => spec.node_name.unwrap_or_default(),
        "spec.serviceAccountName" => spec.service_account_name.unwrap_or_default(),
        "status.podIP" | "status.podIPs" => ip.to_owned(),
        "status.hostIP" | "status.hostIPs" => super::status::HOST_IP.to_owned(),
        _ => {
            let (map, key) = match path.trim_end_matches("']").split_once("['") {
                Some(("metadata.labels", key)) => (pod.labels(), key),
                Some(("metadata.annotations", key)) => (pod.annotations(), key),
                _ => bail!("no field is called {path}"),
            };
            map.get(key).cloned().unwrap_or_default()
        }
    })
}

fn lines(map: &BTreeMap<String, String>) -> String {
    map.iter().map(|(key, value)| format!("{key}={value:?}\n")).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn env_of(name: &str, value: &str) -> Vec<(String, String)> {
        vec![(name.to_owned(), value.to_owned())]
    }

    #[test]
    fn references_are_expanded_as_kubernetes_does() {
        let env = env_of("POD_IP", "10.245.0.10");
        assert_eq!(expand("--http=$(POD_IP):8000", &env), "--http=10.245.0.10:8000");
        assert_eq!(expand("$(NOT_SET) $$(POD_IP) $x $", &env), "$(NOT_SET) $(POD_IP) $x $");
    }

    #[test]
    fn without_a_command_the_image_says_what_runs() {
        let container = |value| serde_json::from_value::<Container>(value).unwrap();
        let plain = container(json!({ "name": "c", "args": ["run"] }));
        assert_eq!(command(&plain, "tidegate", &[]), ["/program/tidegate", "run"]);
        let named = container(json!({ "name": "c", "command": ["envoy", "-l"], "args": ["$(L)"] }));
        assert_eq!(command(&named, "envoy", &env_of("L", "warn")), ["envoy", "-l", "warn"]);
        let placed = container(json!({ "name": "c", "command": ["/bin/ratelimit"] }));
        assert_eq!(command(&placed, "ratelimit", &[]), ["/program/ratelimit"]);
    }

    #[test]
    fn downward_api_fields_are_read() {
        let pod: Pod = serde_json::from_value(json!({
            "metadata": { "name": "p", "namespace": "n", "annotations": { "topology.kubernetes.io/zone": "z" } },
        }))
        .unwrap();
        let read = |path: &str| {
            let wanted = ObjectFieldSelector { field_path: path.to_owned(), ..ObjectFieldSelector::default() };
            field(&pod, &wanted, "1.2.3.4")
        };
        assert_eq!(read("metadata.annotations['topology.kubernetes.io/zone']").unwrap(), "z");
        assert_eq!(read("metadata.labels['none']").unwrap(), "");
        assert_eq!(read("status.podIP").unwrap(), "1.2.3.4");
        assert!(read("spec.volumes").is_err());
    }
}
