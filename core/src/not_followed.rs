//! Routes that name a workload's Service and do not lead to it, and why.

use std::fmt;

use serde::Serialize;

use crate::ids::RouteRef;

/// A route, or a part of one, whose traffic does not reach the backends that it names.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NotFollowed {
    /// The route; its rule, where the others are not concerned
    pub route: RouteRef,
    /// The reason in one word: `PortNotFound`
    pub reason: &'static str,
    /// What the route says and what there is: `names Service api port 8080; it has 80`
    pub message: String,
    /// What Envoy Gateway reports about it in the route's status; `None` when it reports nothing about it
    #[serde(skip_serializing_if = "Option::is_none")]
    pub envoy_gateway: Option<Verdict>,
}

/// The conditions that Envoy Gateway reports in the status of a route.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Verdict {
    /// Whether it does not follow it either
    pub agrees: bool,
    /// `ResolvedRefs=False (PortNotFound): TCP Port 8080 not found on Service shop/api`
    pub conditions: String,
}

impl NotFollowed {
    /// `HTTPRoute shop/api, rule 0`
    pub fn place(&self) -> String {
        let RouteRef { kind, namespace, name, rule } = &self.route;
        let rule = rule.map(|rule| format!(", rule {rule}")).unwrap_or_default();
        format!("{kind} {namespace}/{name}{rule}")
    }
}

/// `HTTPRoute shop/api, rule 0: names Service api port 8080; it has 80`
impl fmt::Display for NotFollowed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place(), self.message)?;
        match &self.envoy_gateway {
            None => Ok(()),
            Some(Verdict { agrees: true, conditions }) => write!(f, " (Envoy Gateway reports {conditions})"),
            Some(Verdict { agrees: false, conditions }) => write!(f, " (but Envoy Gateway reports {conditions})"),
        }
    }
}

/// Why nothing could lead to a workload, however right the routes are. `Display` is a sentence without its full stop.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum NoEntrance {
    /// No Service selects its pods
    NoService,
    /// Its pods are those of this Deployment (`workloadRef` of a Rollout), which does not exist
    NoTemplate(String),
    /// These select its pods, and no route names one of them: `Service api`
    NotNamed(Vec<String>),
}

impl fmt::Display for NoEntrance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoService => f.write_str("no Service selects its pods"),
            Self::NoTemplate(deployment) => {
                write!(f, "its pods are those of Deployment {deployment} (spec.workloadRef), which does not exist")
            }
            Self::NotNamed(one) if one.len() == 1 => {
                write!(f, "no route names {}, which selects its pods", one.join(""))
            }
            Self::NotNamed(several) => write!(f, "no route names one of {}, which select its pods", several.join(", ")),
        }
    }
}

/// The reasons as a list for a message: the first few, and how many more there are.
pub struct Few<'a>(pub &'a [NotFollowed]);

impl fmt::Display for Few<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 3;
        for (i, one) in self.0.iter().take(SHOWN).enumerate() {
            write!(f, "{}{one}", if i > 0 { "; " } else { "" })?;
        }
        match self.0.len().saturating_sub(SHOWN) {
            0 => Ok(()),
            more => write!(f, "; and {more} more"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_services_that_no_route_names_are_listed() {
        let not_named =
            |names: &[&str]| NoEntrance::NotNamed(names.iter().map(ToString::to_string).collect()).to_string();
        assert_eq!(not_named(&["Service api"]), "no route names Service api, which selects its pods");
        assert_eq!(
            not_named(&["Service api", "InferencePool llm"]),
            "no route names one of Service api, InferencePool llm, which select its pods"
        );
    }

    #[test]
    fn a_refusal_reads_as_a_sentence_and_quotes_envoy_gateway() {
        let route = RouteRef { kind: "HTTPRoute".into(), namespace: "shop".into(), name: "api".into(), rule: Some(0) };
        let message = "names Service api port 8080; it has 80".to_owned();
        let alone = NotFollowed { route, reason: "PortNotFound", message, envoy_gateway: None };
        assert_eq!(alone.to_string(), "HTTPRoute shop/api, rule 0: names Service api port 8080; it has 80");
        let says = |agrees, conditions: &str| {
            let verdict = Verdict { agrees, conditions: conditions.to_owned() };
            NotFollowed { envoy_gateway: Some(verdict), ..alone.clone() }.to_string()
        };
        assert!(says(true, "ResolvedRefs=False").ends_with("it has 80 (Envoy Gateway reports ResolvedRefs=False)"));
        assert!(says(false, "Accepted=True").ends_with("it has 80 (but Envoy Gateway reports Accepted=True)"));
    }
}
