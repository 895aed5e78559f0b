//! One of KEDA's triggers, as `tidegate.dev/keda-triggers` has it and as a ScaledObject gets it.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Deserializer, Serialize, de};

use super::{
    resource::{self, MetricType},
    scaler_type::ScalerType,
};
use crate::{
    problem::shortened,
    value::{self, Wanted},
    value_kind::ValueKind,
    yaml,
};

/// Most triggers of one workload: KEDA asks each of them at every poll.
const MOST: usize = 20;
/// Names of the triggers that Tidegate itself writes.
const OWN_NAMES: [&str; 3] = ["tidegate", "cpu", "memory"];
/// Longest name of a trigger, in bytes.
const LONGEST_NAME: usize = 63;

/// A trigger of one of KEDA's scalers. It serializes as `spec.triggers` of a ScaledObject has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct KedaTrigger {
    /// `type`: the scaler
    #[serde(rename = "type")]
    pub scaler: ScalerType,
    /// `name`, unique among the triggers of a ScaledObject
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// `metadata`: the settings of the scaler
    pub metadata: BTreeMap<String, String>,
    /// `metricType`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metric_type: Option<MetricType>,
    /// `authenticationRef`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authentication_ref: Option<AuthenticationRef>,
    /// `useCachedMetrics`: the HPA gets the value of KEDA's last poll
    #[serde(skip_serializing_if = "Option::is_none")]
    pub use_cached_metrics: Option<bool>,
}

/// Where the scaler's credentials come from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuthenticationRef {
    /// The name of the object
    pub name: String,
    /// Its kind; KEDA's default is `TriggerAuthentication`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<AuthenticationKind>,
}

/// The kinds of object that hold credentials.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum AuthenticationKind {
    /// Of the workload's namespace
    TriggerAuthentication,
    /// Of the whole cluster
    ClusterTriggerAuthentication,
}

impl KedaTrigger {
    /// The trigger of `tidegate.dev/cpu`.
    pub(crate) fn of_cpu(value: &str) -> Result<Self, Wanted> {
        Self::of_resource(ScalerType::CPU, value)
    }

    /// The trigger of `tidegate.dev/memory`.
    pub(crate) fn of_memory(value: &str) -> Result<Self, Wanted> {
        Self::of_resource(ScalerType::MEMORY, value)
    }

    fn of_resource(scaler: ScalerType, value: &str) -> Result<Self, Wanted> {
        let (metric_type, value) = resource::target(scaler, value)?;
        Ok(Self {
            scaler,
            name: Some(scaler.as_str().to_owned()),
            metadata: BTreeMap::from([("value".to_owned(), value)]),
            metric_type: Some(metric_type),
            authentication_ref: None,
            use_cached_metrics: None,
        })
    }

    /// Has only this container's CPU or memory count.
    pub(super) fn count_only(&mut self, container: &str) {
        self.metadata.insert("containerName".to_owned(), container.to_owned());
    }

    /// The container whose CPU or memory counts; `None` for all of a pod.
    pub fn container(&self) -> Option<&str> {
        self.metadata.get("containerName").map(String::as_str)
    }

    /// Its name, or else its type, for messages.
    pub fn label(&self) -> &str {
        self.name.as_deref().unwrap_or(self.scaler.as_str())
    }

    /// Parses a list of triggers, as YAML or JSON.
    pub(crate) fn parse_all(value: &str) -> Result<Vec<Self>, Wanted> {
        let written: Vec<Written> = yaml::read(value)
            .map_err(|error| format!("{}: {}", ValueKind::KedaTriggers.wanted(), shortened(&error.to_string())))?;
        if !(1..=MOST).contains(&written.len()) {
            return Err(format!("1 to {MOST} triggers, not {}", written.len()));
        }
        let mut triggers: Vec<Self> = Vec::with_capacity(written.len());
        for (i, written) in written.into_iter().enumerate() {
            let named = written.name.clone();
            let trigger = written.checked().map_err(|wanted| format!("in trigger {} {wanted}", i + 1))?;
            if named.is_some() && triggers.iter().any(|other| other.name == named) {
                return Err(format!("in trigger {} a name that no other has", i + 1));
            }
            triggers.push(trigger);
        }
        Ok(triggers)
    }
}

/// A trigger as people write it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Written {
    r#type: String,
    name: Option<String>,
    #[serde(default)]
    metadata: Metadata,
    metric_type: Option<String>,
    authentication_ref: Option<AuthenticationRef>,
    use_cached_metrics: Option<bool>,
}

impl Written {
    fn checked(self) -> Result<KedaTrigger, Wanted> {
        let scaler = scaler(&self.r#type)?;
        let metric_type = self.metric_type.map(|name| metric_type(scaler, &name)).transpose()?;
        if let Some(name) = &self.name {
            check_name(name)?;
        }
        if let Some(authentication) = &self.authentication_ref {
            let name = shortened(&authentication.name);
            value::object_name(&authentication.name)
                .map_err(|wanted| format!("as authenticationRef.name {wanted}, not \"{name}\""))?;
        }
        let Metadata(metadata) = self.metadata;
        if scaler.is_resource() {
            check_resource(scaler, metric_type, &metadata)?;
        }
        if self.use_cached_metrics == Some(true) && !scaler.may_be_cached() {
            return Err(format!("no useCachedMetrics, which KEDA does not take for {}", scaler.as_str()));
        }
        Ok(KedaTrigger {
            scaler,
            name: self.name,
            metadata,
            metric_type,
            authentication_ref: self.authentication_ref,
            use_cached_metrics: self.use_cached_metrics,
        })
    }
}

fn scaler(name: &str) -> Result<ScalerType, Wanted> {
    ScalerType::find(name).ok_or_else(|| {
        let meant = ScalerType::nearest(name).map(|nearest| format!("; did you mean \"{nearest}\"?"));
        format!("a type of KEDA 2.21, not \"{}\"{}", shortened(name), meant.unwrap_or_default())
    })
}

fn metric_type(scaler: ScalerType, name: &str) -> Result<MetricType, Wanted> {
    let taken = |metric_type: &MetricType| match metric_type {
        MetricType::AverageValue => true,
        MetricType::Value => !scaler.is_resource(),
        MetricType::Utilization => scaler.is_resource(),
    };
    MetricType::find(name).filter(taken).ok_or_else(|| {
        let other = if scaler.is_resource() { "Utilization" } else { "Value" };
        format!("the metricType AverageValue or {other}, not \"{}\"", shortened(name))
    })
}

fn check_name(name: &str) -> Result<(), Wanted> {
    if OWN_NAMES.contains(&name) {
        return Err(format!("another name than {name}, which is of a trigger that Tidegate writes"));
    }
    let valid = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    if (1..=LONGEST_NAME).contains(&name.len()) && name.bytes().all(valid) {
        Ok(())
    } else {
        Err(format!("a name of at most {LONGEST_NAME} letters, digits, dashes, underscores and dots"))
    }
}

fn check_resource(
    scaler: ScalerType,
    metric_type: Option<MetricType>,
    metadata: &BTreeMap<String, String>,
) -> Result<(), Wanted> {
    if let Some(unknown) = metadata.keys().find(|key| !["value", "containerName"].contains(&key.as_str())) {
        return Err(format!("metadata of value and containerName alone, not {}", shortened(unknown)));
    }
    let metric_type = metric_type.ok_or_else(|| "the metricType Utilization or AverageValue".to_owned())?;
    resource::check(scaler, metric_type, metadata.get("value").map_or("", String::as_str))
}

/// The metadata of a trigger: KEDA wants texts. A number or a boolean is taken as the text that stands there, so that a version such as
/// `1.10` stays what it is.
#[derive(Default)]
struct Metadata(BTreeMap<String, String>);

impl<'de> Deserialize<'de> for Metadata {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Texts).map(Self)
    }
}

struct Texts;

impl<'de> de::Visitor<'de> for Texts {
    type Value = BTreeMap<String, String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map of texts")
    }

    fn visit_map<A: de::MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
        let mut texts = BTreeMap::new();
        while let Some((key, value)) = entries.next_entry::<String, Option<String>>()? {
            let Some(value) = value else {
                return Err(de::Error::custom(format_args!("{} has no value", shortened(&key))));
            };
            texts.insert(key, value);
        }
        Ok(texts)
    }
}

#[cfg(test)]
mod tests;
