//! The name that `telemetry.metrics.clusterStatName` of the EnvoyProxy gives to clusters in statistics.

/// Values for the operators of the pattern.
pub(super) struct StatName<'a> {
    pub(super) kind: &'a str,
    pub(super) namespace: &'a str,
    pub(super) name: &'a str,
    pub(super) rule_name: Option<&'a str>,
    pub(super) rule: usize,
    /// `namespace/name` of each backendRef of the rule; empty for one of weight 0
    pub(super) backends: Vec<String>,
}

impl StatName<'_> {
    /// `buildStatName`
    pub(super) fn render(&self, pattern: &str) -> String {
        pattern
            .replace("%ROUTE_NAME%", self.name)
            .replace("%ROUTE_NAMESPACE%", self.namespace)
            .replace("%ROUTE_KIND%", &self.kind.to_ascii_lowercase())
            .replace("%ROUTE_RULE_NAME%", self.rule_name.unwrap_or("-"))
            .replace("%ROUTE_RULE_NUMBER%", &self.rule.to_string())
            .replace("%BACKEND_REFS%", &self.backends.join("|"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operator_is_replaced() {
        let name = StatName {
            kind: "HTTPRoute",
            namespace: "shop",
            name: "api",
            rule_name: None,
            rule: 2,
            backends: vec!["shop/a".into(), String::new(), "shop/b".into()],
        };
        let pattern =
            "%ROUTE_KIND%/%ROUTE_NAMESPACE%/%ROUTE_NAME%/%ROUTE_RULE_NAME%/%ROUTE_RULE_NUMBER%/%BACKEND_REFS%/%X%";
        assert_eq!(name.render(pattern), "httproute/shop/api/-/2/shop/a||shop/b/%X%");
        assert_eq!(name.render("fixed"), "fixed");
    }
}
