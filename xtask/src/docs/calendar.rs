//! The page of the Calendar, from its CustomResourceDefinition.

use std::fmt::Write;

use anyhow::Result;
use serde_json::Value;
use tidegate_core::yaml;

pub(super) fn page(crd: &str) -> Result<String> {
    let crd: Value = yaml::read(crd)?;
    let version = &crd["spec"]["versions"][0];
    let schema = &version["schema"]["openAPIV3Schema"];
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut page = format!(
        "# Calendar\n\n`{}/{}`, of the cluster. {}\n\n| field | type | meaning |\n|---|---|---|\n",
        text(&crd["spec"]["group"]),
        text(&version["name"]),
        text(&schema["description"]),
    );
    write_fields(&mut page, "", schema);
    Ok(page)
}

fn write_fields(page: &mut String, path: &str, schema: &Value) {
    let required: Vec<_> = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        let needed = if required.contains(&name.as_str()) { ", required" } else { "" };
        let (kind, meaning) =
            (field["type"].as_str().unwrap_or_default(), field["description"].as_str().unwrap_or_default());
        let _ = writeln!(page, "| `{path}` | {}{needed} | {meaning} |", values(field, kind));
        write_fields(page, &path, field);
        write_fields(page, &format!("{path}[]"), &field["items"]);
    }
}

/// The type, or the allowed values.
fn values(field: &Value, kind: &str) -> String {
    let listed: Vec<_> = field["enum"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    if !listed.is_empty() {
        return listed.iter().map(|value| format!("`{value}`")).collect::<Vec<_>>().join(" or ");
    }
    field["format"].as_str().unwrap_or(kind).to_owned()
}
