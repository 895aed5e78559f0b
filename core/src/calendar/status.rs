//! The status of a Calendar object.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

/// Written by Tidegate.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("required" = []))]
pub struct CalendarStatus {
    /// Whether it is open now; absent when it has no valid hours.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "bool")]
    pub open: Option<bool>,
    /// When it opens or closes next, in its own time zone.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub next_change: Option<String>,
    /// The last valid spec, as it was. Its hours apply while the spec is invalid.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "any_object")]
    pub applied: Option<Value>,
    /// How many workloads and Gateways use it.
    #[schemars(with = "i64")]
    pub users: usize,
    /// One condition, Ready: whether the spec is valid.
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

/// A condition, as Kubernetes defines it (`metav1.Condition`).
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("required" = ["type", "status", "reason", "message", "lastTransitionTime"]))]
pub struct Condition {
    /// Ready
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// True, False or Unknown
    #[schemars(extend("enum" = ["True", "False", "Unknown"]))]
    pub status: &'static str,
    /// The reason, in one word for programs.
    pub reason: &'static str,
    /// The reason, for people to read.
    pub message: String,
    /// The generation of the object that the condition describes.
    pub observed_generation: i64,
    /// When the status changed last.
    #[schemars(extend("format" = "date-time"))]
    pub last_transition_time: String,
}

fn any_object(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({"type": "object", "x-kubernetes-preserve-unknown-fields": true})
}

impl CalendarStatus {
    /// Name of the field that keeps the last valid spec.
    pub const APPLIED: &str = "applied";
}
