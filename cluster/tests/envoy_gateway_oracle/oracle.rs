//! One case of Envoy Gateway's translator tests: `NAME.in.yaml` with objects, `NAME.out.yaml` with the translation.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    fs,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};
use tidegate_cluster::{BackendId, ClusterEntry, Objects};
use tidegate_core::{not_followed::NotFollowed, plan::Role};

/// Parts of clusters, by backend and cluster. Ports of Backends are left out, as Envoy Gateway does.
type Mapping = BTreeMap<BackendId, BTreeMap<String, Part>>;

#[derive(Debug, Clone, Default)]
struct Part {
    share: f64,
    /// The names of the backend's own clusters, when the rule is split for certain
    splits: BTreeSet<String>,
}

pub(crate) struct Case {
    pub(crate) name: String,
    input: PathBuf,
    output: PathBuf,
}

impl Case {
    /// All cases of a directory, by name.
    pub(crate) fn all_in(directory: &Path) -> Vec<Self> {
        let entries = fs::read_dir(directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
        let mut cases: Vec<_> = entries
            .filter_map(|entry| {
                let input = entry.unwrap().path();
                let name = input.file_name()?.to_str()?.strip_suffix(".in.yaml")?.to_owned();
                let output = directory.join(format!("{name}.out.yaml"));
                Some(Self { name, input, output })
            })
            .collect();
        cases.sort_by(|a, b| a.name.cmp(&b.name));
        cases
    }

    /// The difference between discovery and Envoy Gateway, if there is any.
    pub(crate) fn difference(&self) -> Option<String> {
        let expected = self.expected();
        let found = self.found();
        let mut difference = String::new();
        let backends: BTreeSet<_> = expected.keys().chain(found.keys()).collect();
        for backend in backends {
            let (wanted, got) = (expected.get(backend), found.get(backend));
            if !same(wanted, got) {
                writeln!(difference, "  {backend:?}\n    Envoy Gateway: {wanted:?}\n    discovery:     {got:?}")
                    .unwrap();
            }
        }
        (!difference.is_empty()).then_some(difference)
    }

    /// Where discovery refuses what Envoy Gateway's status accepts, or follows what it refuses.
    pub(crate) fn disputes(&self) -> Vec<String> {
        let (input, output) = (read(&self.input), read(&self.output));
        let mut objects = Objects::default();
        for mut object in objects_of(self, &input) {
            if let Some(status) = status_of(&object, &output) {
                object["status"] = status.clone();
            }
            objects.apply(object).unwrap_or_else(|error| panic!("{}: {error}", self.name));
        }
        let differs = |one: &NotFollowed| one.envoy_gateway.as_ref().is_some_and(|verdict| !verdict.agrees);
        objects.routing().not_followed.iter().filter(|one| differs(one)).map(ToString::to_string).collect()
    }

    fn found(&self) -> Mapping {
        let mut objects = Objects::default();
        let input = read(&self.input);
        let dynamic = |id: &BackendId| {
            let named = |b: &Value| b["metadata"]["name"] == id.name && b["metadata"]["namespace"] == id.namespace;
            id.kind == "Backend" && list(&input, "backends").any(|b| named(b) && b["spec"]["type"] == "DynamicResolver")
        };
        for object in objects_of(self, &input) {
            objects.apply(object).unwrap_or_else(|error| panic!("{}: {error}", self.name));
        }
        let mut mapping = Mapping::new();
        for backend in objects.routes() {
            let id = without_port(backend.backend);
            // The translation does not say either which objects of extension servers get traffic.
            if !["Service", "ServiceImport", "Backend"].contains(&id.kind.as_str()) {
                continue;
            }
            let id = if dynamic(&id) { dynamic_resolver() } else { id };
            // The translation has no backends of weight 0, and mirrors are not destinations of it.
            let gets = |cluster: &ClusterEntry| cluster.share > 0.0 && cluster.role != Role::Mirror;
            for cluster in backend.clusters.into_iter().filter(gets) {
                let part = mapping.entry(id.clone()).or_default().entry(cluster.name).or_default();
                part.share = if id == dynamic_resolver() { 1.0 } else { part.share + cluster.share };
                part.splits.extend(cluster.split);
            }
        }
        mapping
    }

    fn expected(&self) -> Mapping {
        let output = read(&self.output);
        let mut mapping = Mapping::new();
        for xds in output.get("xdsIR").and_then(Value::as_object).into_iter().flat_map(|irs| irs.values()) {
            let destinations = destinations_of(xds);
            let referenced: Vec<_> = destinations.iter().flat_map(|d| list(d, "backendClusterRefs")).collect();
            for cluster in list(xds, "backendClusters") {
                let cluster_name = name(cluster);
                if let Some(id) = cluster.get("setting").and_then(backend_of)
                    && referenced.iter().any(|reference| name(reference) == cluster_name)
                {
                    mapping
                        .entry(id)
                        .or_default()
                        .insert(cluster_name.to_owned(), Part { share: 1.0, ..Part::default() });
                }
            }
            for destination in destinations {
                add_destination(&mut mapping, destination);
            }
        }
        mapping
    }
}

/// The status that the translation gives a route.
fn status_of<'o>(object: &Value, output: &'o Value) -> Option<&'o Value> {
    let is_same = |other: &&Value| ["name", "namespace"].iter().all(|k| other["metadata"][k] == object["metadata"][k]);
    let kind = object["kind"].as_str().filter(|kind| kind.ends_with("Route"))?;
    let mut all = output.as_object()?.iter().filter(|(key, _)| key.eq_ignore_ascii_case(&format!("{kind}s")));
    all.find_map(|(_, routes)| routes.as_array()?.iter().find(is_same)?.get("status"))
}

/// Adds a destination, which occurs once per listener, hostname and match, always the same.
fn add_destination(mapping: &mut Mapping, destination: &Value) {
    let stat_name = destination.get("statName").and_then(Value::as_str);
    // Under a `statName`, only requests that reach backends are counted.
    let counts = |setting: &&Value| stat_name.is_none() || reaches(setting);
    let total: f64 = list(destination, "settings").filter(counts).map(weight).sum();
    let split =
        stat_name.is_none() && name(destination).starts_with(['h', 'g']) && needs_cluster_per_setting(destination);
    let mut parts = BTreeMap::<_, Part>::new();
    for setting in list(destination, "settings").filter(|setting| reaches(setting)) {
        if let Some(id) = backend_of(setting) {
            let part = parts.entry(id).or_default();
            part.share += weight(setting) / total;
            part.splits.extend(split.then(|| name(setting).to_owned()));
        }
    }
    let cluster = stat_name.unwrap_or_else(|| name(destination));
    for (id, part) in parts {
        mapping.entry(id).or_default().insert(cluster.to_owned(), part);
    }
}

/// `NeedsClusterPerSetting` of Envoy Gateway, without the conditions of BackendTrafficPolicies and certificates.
fn needs_cluster_per_setting(destination: &Value) -> bool {
    let settings: Vec<_> = list(destination, "settings").collect();
    let has = |key: &str| settings.iter().any(|setting| setting.get(key).is_some_and(|value| *value != json!(false)));
    let addresses: BTreeSet<_> = settings.iter().filter_map(|setting| setting.get("addressType")?.as_str()).collect();
    let http2 = settings.iter().any(|setting| matches!(text(setting, "protocol"), "HTTP2" | "GRPC"));
    settings.iter().any(|setting| !reaches(setting))
        || (!settings.is_empty() && list(destination, "backendClusterRefs").next().is_some())
        || has("filters")
        || (settings.len() > 1 && has("preferLocal"))
        || (addresses.contains("FQDN") && addresses.len() > 1)
        || (has("forceHTTP1Upstream") && http2)
}

fn reaches(setting: &Value) -> bool {
    let is = |key: &str| setting.get(key).and_then(Value::as_bool) == Some(true);
    list(setting, "endpoints").next().is_some() || is("isDynamicResolver") || is("isCustomBackend")
}

fn weight(setting: &Value) -> f64 {
    setting.get("weight").and_then(Value::as_f64).unwrap_or(1.0)
}

/// Stands for any dynamic resolver: the translation does not say which Backend it is.
fn dynamic_resolver() -> BackendId {
    BackendId { kind: "Backend".into(), namespace: String::new(), name: "dynamic resolver".into(), port: None }
}

fn backend_of(setting: &Value) -> Option<BackendId> {
    if setting.get("isDynamicResolver").and_then(Value::as_bool) == Some(true) {
        return Some(dynamic_resolver());
    }
    let metadata = setting.get("metadata")?;
    let owned = |key| text(metadata, key).to_owned();
    let port = text(metadata, "sectionName").parse().ok();
    Some(without_port(BackendId { kind: owned("kind"), namespace: owned("namespace"), name: owned("name"), port }))
}

fn without_port(backend: BackendId) -> BackendId {
    let port = backend.port.filter(|_| backend.kind != "Backend");
    BackendId { port, ..backend }
}

fn destinations_of(xds: &Value) -> Vec<&Value> {
    let listeners = ["http", "tcp", "udp"].into_iter().flat_map(|protocol| list(xds, protocol));
    let routes = listeners.flat_map(|listener| list(listener, "routes").chain(listener.get("route")));
    routes.flat_map(|route| route.get("destination").into_iter().chain(asked_by(route))).collect()
}

/// The services that Envoy calls for the requests of a route.
fn asked_by(route: &Value) -> impl Iterator<Item = &Value> {
    let authorise = ["http", "grpc"].map(|by| route.pointer(&format!("/security/extAuth/{by}")));
    let process = route.get("envoyExtensions").into_iter().flat_map(|extensions| list(extensions, "extProcs"));
    authorise.into_iter().flatten().chain(process).filter_map(|service| service.get("destination"))
}

fn same(wanted: Option<&BTreeMap<String, Part>>, got: Option<&BTreeMap<String, Part>>) -> bool {
    let (Some(wanted), Some(got)) = (wanted, got) else { return wanted.is_none() && got.is_none() };
    let near = |((a, x), (b, y)): ((&String, &Part), (&String, &Part))| {
        a == b && (x.share - y.share).abs() < 1e-9 && x.splits == y.splits
    };
    wanted.len() == got.len() && wanted.iter().zip(got).all(near)
}

/// The objects of a case, with those that Envoy Gateway's test adds to each (`translator_test.go`).
fn objects_of(case: &Case, input: &Value) -> Vec<Value> {
    let mut objects = Vec::new();
    let mut endpoint_slices: Vec<_> = input
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(key, _)| key.eq_ignore_ascii_case("endpointSlices"))
        .flat_map(|(_, slices)| slices.as_array().cloned().unwrap_or_default())
        .collect();
    for (key, value) in input.as_object().into_iter().flatten() {
        let Some(kind) = kind_of(key) else { continue };
        let items: Vec<_> = value.as_array().cloned().unwrap_or_else(|| vec![value.clone()]);
        let items = items.into_iter().filter(|object| object.get("metadata").is_some());
        objects.extend(items.map(lower_first).map(|mut object| {
            object["kind"] = json!(kind.0);
            object["apiVersion"] = json!(kind.1);
            object
        }));
    }
    for object in implicit_objects() {
        if object["kind"] == "EndpointSlice" { endpoint_slices.push(object) } else { objects.push(object) }
    }
    objects.extend(gateway_classes(input));
    objects.push(envoy_gateway(case, input));
    // The order in the file is the order of age.
    for (i, object) in objects.iter_mut().enumerate() {
        if object.get("metadata").is_some() {
            object["metadata"]["creationTimestamp"] = json!(format!("2026-01-01T00:{:02}:{:02}Z", i / 60, i % 60));
        }
    }
    if !input.to_string().contains(r#""routingType":"Service""#) {
        for object in &mut objects {
            drop_ports_without_endpoints(object, &endpoint_slices);
        }
    }
    objects
}

/// The same with keys as the API has them: Go's decoder ignores case, and some cases write `Name`.
fn lower_first(value: Value) -> Value {
    let lower = |key: String| {
        let mut letters = key.chars();
        letters.next().map_or_else(String::new, |first| first.to_ascii_lowercase().to_string() + letters.as_str())
    };
    match value {
        Value::Object(fields) => fields.into_iter().map(|(key, value)| (lower(key), lower_first(value))).collect(),
        Value::Array(items) => items.into_iter().map(lower_first).collect(),
        other => other,
    }
}

/// The kind and version of the objects under a key of the input.
fn kind_of(key: &str) -> Option<(&'static str, &'static str)> {
    const GATEWAY_API: &str = "gateway.networking.k8s.io/v1";
    const ENVOY_GATEWAY: &str = "gateway.envoyproxy.io/v1alpha1";
    // Go's decoder ignores case.
    Some(match key.to_ascii_lowercase().as_str() {
        "gateways" => ("Gateway", GATEWAY_API),
        "listenersets" => ("ListenerSet", GATEWAY_API),
        "httproutes" => ("HTTPRoute", GATEWAY_API),
        "grpcroutes" => ("GRPCRoute", GATEWAY_API),
        "tlsroutes" => ("TLSRoute", GATEWAY_API),
        "tcproutes" => ("TCPRoute", GATEWAY_API),
        "udproutes" => ("UDPRoute", GATEWAY_API),
        "referencegrants" => ("ReferenceGrant", GATEWAY_API),
        "namespaces" => ("Namespace", "v1"),
        "services" => ("Service", "v1"),
        "serviceimports" => ("ServiceImport", "multicluster.x-k8s.io/v1alpha1"),
        "backends" => ("Backend", ENVOY_GATEWAY),
        "httpfilters" => ("HTTPRouteFilter", ENVOY_GATEWAY),
        "backendtrafficpolicies" => ("BackendTrafficPolicy", ENVOY_GATEWAY),
        "clienttrafficpolicies" => ("ClientTrafficPolicy", ENVOY_GATEWAY),
        "securitypolicies" => ("SecurityPolicy", ENVOY_GATEWAY),
        "envoyextensionpolicies" => ("EnvoyExtensionPolicy", ENVOY_GATEWAY),
        "envoyproxyforgatewayclass" | "envoyproxiesforgateways" => ("EnvoyProxy", ENVOY_GATEWAY),
        _ => return None,
    })
}

fn implicit_objects() -> Vec<Value> {
    let port = |name: &str, port: u16, protocol: &str| json!({"name": name, "port": port, "protocol": protocol});
    let all =
        [port("http", 8080, "TCP"), port("https", 8443, "TCP"), port("tcp", 8163, "TCP"), port("udp", 8162, "UDP")];
    let mut objects: Vec<_> = ["envoy-gateway", "default"]
        .map(|name| json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}))
        .into();
    let mut add = |namespace: &str, name: &str, ports: &[Value]| {
        objects.push(json!({"apiVersion": "v1", "kind": "Service", "metadata": {"namespace": namespace, "name": name},
            "spec": {"clusterIP": "1.1.1.1", "ports": ports}}));
        objects.push(json!({"kind": "EndpointSlice", "metadata": {"namespace": namespace,
            "labels": {"kubernetes.io/service-name": name}}, "ports": ports, "endpoints": [{"addresses": ["7.7.7.7"]}]}));
    };
    for i in 1..=4 {
        add("default", &format!("service-{i}"), &all);
    }
    add("default", "mirror-service", &all[..1]);
    add("monitoring", "otel-collector", &[port("grpc", 4317, "TCP"), port("zipkin", 9411, "TCP")]);
    objects
}

/// Envoy Gateway's own class, which the test translates, and any other, which it does not.
fn gateway_classes(input: &Value) -> Vec<Value> {
    const OWN: &str = "envoy-gateway-class";
    let parameters = input.get("envoyProxyForGatewayClass").map(|proxy| {
        json!({"group": "gateway.envoyproxy.io", "kind": "EnvoyProxy", "name": proxy["metadata"]["name"],
            "namespace": proxy["metadata"]["namespace"].as_str().unwrap_or("default")})
    });
    let class = |name: &str, controller: &str| {
        json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "GatewayClass", "metadata": {"name": name},
            "spec": {"controllerName": controller, "parametersRef": parameters}})
    };
    let mut classes = vec![class(OWN, "gateway.envoyproxy.io/gatewayclass-controller")];
    for gateway in list(input, "gateways") {
        let name = gateway["spec"]["gatewayClassName"].as_str().unwrap_or_default();
        if name != OWN {
            classes.push(class(name, "example.com/other"));
        }
    }
    classes
}

fn envoy_gateway(case: &Case, input: &Value) -> Value {
    let extended = case.input.parent().is_some_and(|parent| parent.ends_with("extensions"));
    let enabled = !extended && !case.name.ends_with("-feature-disabled");
    let host = if case.name.ends_with("host-infra") { "Host" } else { "" };
    let kinds = |kinds: &[(&str, &str)]| {
        let kinds = kinds.iter().filter(|_| extended);
        kinds.map(|(group, kind)| json!({"group": group, "version": "v1", "kind": kind})).collect::<Vec<_>>()
    };
    json!({"apiVersion": "gateway.envoyproxy.io/v1alpha1", "kind": "EnvoyGateway",
        "extensionApis": {"enableBackend": enabled},
        "extensionManager": {
            "resources": kinds(&[("foo.example.io", "Foo"), ("bar.example.io", "Bar")]),
            "backendResources": kinds(&[("storage.example.io", "S3Backend"), ("compute.example.io", "LambdaBackend")]),
        },
        "envoyProxy": input.get("envoyProxyDefaultSpec"),
        "provider": {"type": "Custom", "custom": {"infrastructure": {"type": host}}}})
}

/// Discovery assumes that every Service has endpoints; Envoy Gateway checks. A port without any is treated as one that does not exist.
fn drop_ports_without_endpoints(object: &mut Value, slices: &[Value]) {
    let label = match object["kind"].as_str() {
        Some("Service") => "kubernetes.io/service-name",
        Some("ServiceImport") => "multicluster.kubernetes.io/service-name",
        _ => return,
    };
    let metadata = object["metadata"].clone();
    let own: Vec<_> = slices
        .iter()
        .filter(|slice| {
            slice["metadata"]["namespace"] == metadata["namespace"]
                && slice["metadata"]["labels"][label] == metadata["name"]
        })
        .collect();
    let protocol = |port: &Value| port.get("protocol").and_then(Value::as_str).unwrap_or("TCP").to_owned();
    let served = |port: &Value| {
        let same = |other: &Value| name(other) == name(port) && protocol(other) == protocol(port);
        own.iter().any(|slice| {
            let addresses = list(slice, "endpoints").any(|endpoint| list(endpoint, "addresses").next().is_some());
            addresses && list(slice, "ports").any(same)
        })
    };
    if let Some(ports) = object["spec"]["ports"].as_array_mut() {
        ports.retain(served);
    }
}

fn read(path: &Path) -> Value {
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    tidegate_core::yaml::read(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn list<'a>(value: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> + use<'a> {
    value.get(key).and_then(Value::as_array).into_iter().flatten()
}

fn name(value: &Value) -> &str {
    text(value, "name")
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}
