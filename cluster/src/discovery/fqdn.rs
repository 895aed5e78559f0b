//! Services by their DNS names in the cluster.

/// `api.shop.svc.cluster.local` → (`shop`, `api`), whatever the cluster's domain, and also `api.shop.svc`.
pub(super) fn service_of_fqdn(hostname: &str) -> Option<(&str, &str)> {
    let mut labels = hostname.strip_suffix('.').unwrap_or(hostname).split('.');
    let (name, namespace, svc) = (labels.next()?, labels.next()?, labels.next()?);
    (svc == "svc" && !name.is_empty() && !namespace.is_empty()).then_some((namespace, name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_in_the_clusters_domain_names_its_service() {
        for (hostname, expected) in [
            ("api.shop.svc.cluster.local", Some(("shop", "api"))),
            ("api.shop.svc.cluster.local.", Some(("shop", "api"))),
            ("api.shop.svc", Some(("shop", "api"))),
            ("api.shop.svc.example.org", Some(("shop", "api"))),
            ("api.shop", None),
            ("api.example.com", None),
            ("0.api.shop.svc.cluster.local", None),
            ("", None),
        ] {
            assert_eq!(service_of_fqdn(hostname), expected, "{hostname}");
        }
    }
}
