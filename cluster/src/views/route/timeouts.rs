//! Time-outs of the rules of HTTPRoutes.

use std::time::Duration;

use serde::{Deserialize, Deserializer};
use tidegate_core::request_timeout::RequestTimeout;

/// `timeouts` of a rule.
#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Timeouts {
    /// For the answer to a client
    #[serde(deserialize_with = "time")]
    pub(crate) request: Option<Duration>,
    /// For the answer of a backend
    #[serde(deserialize_with = "time")]
    pub(crate) backend_request: Option<Duration>,
}

/// A duration of Gateway API, which is one of Go, too.
pub(crate) fn duration(text: &str) -> Option<Duration> {
    humantime::parse_duration(text).ok()
}

/// One that cannot be read becomes Envoy's default, as in Envoy Gateway (`HTTPRequestTimeout`).
fn time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    Ok(text.map(|text| duration(&text).unwrap_or(RequestTimeout::DEFAULT)))
}
