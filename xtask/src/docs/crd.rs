//! The Calendar's CustomResourceDefinition, from its Rust types.

use anyhow::Result;
use schemars::{JsonSchema, generate::SchemaSettings, transform::RecursiveTransform};
use serde_json::{Value, json};
use tidegate_cluster::Kind;
use tidegate_core::{
    calendar::{CalendarSpec, CalendarStatus},
    yaml,
};

const HEAD: &str = "# Business hours that many workloads and Gateways share. `tidegate crds` prints this file; `cargo xtask docs` writes it from\n\
                    # core/src/calendar/spec.rs and status.rs.\n";

/// The definition as the chart has it.
pub(super) fn calendar() -> Result<String> {
    let kind = Kind::Calendar;
    let column = |name: &str, kind: &str, path: &str| json!({"name": name, "type": kind, "jsonPath": path});
    let ready = json!({"name": "Ready", "type": "string", "priority": 1, "jsonPath": ".status.conditions[?(@.type==\"Ready\")].reason"});
    let version = |name: &&str| {
        json!({
            "name": name,
            "served": true,
            "storage": *name == kind.versions()[0],
            "subresources": {"status": {}},
            "additionalPrinterColumns": [
                column("Hours", "string", ".spec.hours"),
                column("Timezone", "string", ".spec.timeZone"),
                column("Open", "boolean", ".status.open"),
                column("Next Change", "string", ".status.nextChange"),
                column("Users", "integer", ".status.users"),
                ready,
                column("Age", "date", ".metadata.creationTimestamp"),
            ],
            "schema": {"openAPIV3Schema": {
                "type": "object",
                "description": "Business hours. Workloads, Gateways and Namespaces name it in tidegate.dev/calendar.",
                "required": ["spec"],
                "properties": {"spec": schema::<CalendarSpec>(), "status": schema::<CalendarStatus>()},
            }},
        })
    };
    let definition = json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("{}.{}", kind.plural(), kind.api_group())},
        "spec": {
            "group": kind.api_group(),
            "scope": if kind.namespaced() { "Namespaced" } else { "Cluster" },
            "names": {
                "kind": kind.as_str(),
                "listKind": format!("{}List", kind.as_str()),
                "plural": kind.plural(),
                "singular": kind.as_str().to_lowercase(),
                "categories": ["tidegate"],
            },
            "versions": kind.versions().iter().map(version).collect::<Vec<_>>(),
        },
    });
    Ok(format!("{HEAD}{}", yaml::write(&definition)?))
}

/// The structural schema of a type.
fn schema<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::openapi3().with(|settings| {
        settings.inline_subschemas = true;
        settings.meta_schema = None;
    });
    settings.with_transform(RecursiveTransform(plain)).into_generator().into_root_schema_for::<T>().into()
}

/// Leaves out defaults, since with them the API server would write fields that nobody set, and line breaks of doc comments.
fn plain(schema: &mut schemars::Schema) {
    schema.remove("default");
    schema.remove("title");
    if schema.get("required").and_then(Value::as_array).is_some_and(Vec::is_empty) {
        schema.remove("required");
    }
    if let Some(description) = schema.get("description").and_then(Value::as_str) {
        let line = description.replace('\n', " ");
        schema.insert("description".to_owned(), line.into());
    }
}
