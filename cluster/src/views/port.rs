//! Names of ports: of containers, of EndpointSlices, and as targets of Services.

use serde::{Deserialize, Deserializer};

/// The names of the TCP ports in a list of ports. A port without a name has the empty name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct PortNames(Box<[Box<str>]>);

impl PortNames {
    /// Whether there is a port of this name.
    pub(crate) fn contains(&self, name: &str) -> bool {
        self.0.iter().any(|known| **known == *name)
    }
}

impl IntoIterator for PortNames {
    type Item = Box<str>;
    type IntoIter = std::vec::IntoIter<Box<str>>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_vec().into_iter()
    }
}

impl FromIterator<Box<str>> for PortNames {
    fn from_iter<T: IntoIterator<Item = Box<str>>>(names: T) -> Self {
        Self(names.into_iter().collect())
    }
}

impl<'de> Deserialize<'de> for PortNames {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Default, Deserialize)]
        #[serde(default)]
        struct Port {
            name: Box<str>,
            protocol: Option<String>,
        }
        let is_tcp = |port: &Port| super::route::non_empty(port.protocol.as_deref()).is_none_or(|name| name == "TCP");
        let ports = Vec::<Port>::deserialize(deserializer)?;
        Ok(ports.into_iter().filter(is_tcp).map(|port| port.name).collect())
    }
}

/// The name in a Service's `targetPort`; `None` for a number, which also a text may be.
pub(crate) fn target_name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Box<str>>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Target {
        Name(Box<str>),
        Number(serde::de::IgnoredAny),
    }
    Ok(match Target::deserialize(deserializer)? {
        Target::Name(name) if !name.is_empty() && name.parse::<u16>().is_err() => Some(name),
        Target::Name(_) | Target::Number(_) => None,
    })
}
