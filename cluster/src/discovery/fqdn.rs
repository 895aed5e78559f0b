//! Services, and single pods of them, by their DNS names in the cluster
//! (<https://kubernetes.io/docs/concepts/services-networking/dns-pod-service/>).

/// A name in the cluster's DNS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct DnsName<'a> {
    pub(super) namespace: &'a str,
    pub(super) service: &'a str,
    /// The pod of the Service, when the name is that of one pod
    pub(super) pod: Option<&'a str>,
}

impl<'a> DnsName<'a> {
    /// Reads a name that says `svc`: `api.shop.svc.cluster.local` or `db-0.db.shop.svc.cluster.local`, whatever the cluster's domain,
    /// and also `api.shop.svc`.
    pub(super) fn qualified(hostname: &'a str) -> Option<Self> {
        let mut labels = hostname.strip_suffix('.').unwrap_or(hostname).split('.');
        let (first, second, third) = (labels.next()?, labels.next()?, labels.next()?);
        let name = match (third, labels.next()) {
            ("svc", _) => Self { namespace: second, service: first, pod: None },
            (namespace, Some("svc")) => Self { namespace, service: second, pod: Some(first) },
            _ => return None,
        };
        name.is_complete().then_some(name)
    }

    /// What a name without `svc` may stand for, in the order in which the search path of a pod in `own` tries it: `db-0.db` in its
    /// own namespace, then `api.shop` and `db-0.db.shop`. A name that ends with a dot is not searched for.
    pub(super) fn short(hostname: &'a str, own: &'a [String]) -> Vec<Self> {
        let labels: Vec<_> = hostname.split('.').collect();
        let names = match *labels.as_slice() {
            [first, second] => {
                let pods = own.iter().map(|namespace| Self { namespace, service: second, pod: Some(first) });
                pods.chain([Self { namespace: second, service: first, pod: None }]).collect()
            }
            [pod, service, namespace] => vec![Self { namespace, service, pod: Some(pod) }],
            _ => Vec::new(),
        };
        names.into_iter().filter(Self::is_complete).collect()
    }

    fn is_complete(&self) -> bool {
        !self.namespace.is_empty() && !self.service.is_empty() && self.pod != Some("")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn service<'a>(namespace: &'a str, service: &'a str) -> DnsName<'a> {
        DnsName { namespace, service, pod: None }
    }

    fn pod<'a>(namespace: &'a str, service: &'a str, pod: &'a str) -> DnsName<'a> {
        DnsName { namespace, service, pod: Some(pod) }
    }

    #[test]
    fn a_name_in_the_clusters_domain_names_its_service() {
        for (hostname, expected) in [
            ("api.shop.svc.cluster.local", Some(service("shop", "api"))),
            ("api.shop.svc.cluster.local.", Some(service("shop", "api"))),
            ("api.shop.svc", Some(service("shop", "api"))),
            ("api.shop.svc.example.org", Some(service("shop", "api"))),
            ("api.shop", None),
            ("api.example.com", None),
            (".shop.svc.cluster.local", None),
            ("", None),
        ] {
            assert_eq!(DnsName::qualified(hostname), expected, "{hostname}");
        }
    }

    #[test]
    fn a_label_before_the_service_names_its_pod() {
        for (hostname, expected) in [
            ("db-0.db.shop.svc.cluster.local", Some(pod("shop", "db", "db-0"))),
            ("db-0.db.shop.svc", Some(pod("shop", "db", "db-0"))),
            (".db.shop.svc.cluster.local", None),
            ("a.db-0.db.shop.svc.cluster.local", None),
        ] {
            assert_eq!(DnsName::qualified(hostname), expected, "{hostname}");
        }
    }

    #[test]
    fn a_short_name_is_tried_as_the_search_path_of_the_proxies_has_it() {
        let own = ["proxies".to_owned()];
        assert_eq!(DnsName::short("db-0.db", &own), [pod("proxies", "db", "db-0"), service("db", "db-0")]);
        assert_eq!(DnsName::short("db-0.db.shop", &own), [pod("shop", "db", "db-0")]);
        for absolute in ["db.shop.", "shop", "", ".", "a.b.c.d"] {
            assert_eq!(DnsName::short(absolute, &own), [], "{absolute}");
        }
    }

    proptest! {
        #[test]
        fn no_name_has_empty_parts(hostname in "[a-z.-]{0,12}(\\.svc)?[a-z.]{0,6}") {
            let short = DnsName::short(&hostname, &[]);
            for name in DnsName::qualified(&hostname).into_iter().chain(short) {
                prop_assert!(!name.namespace.is_empty() && !name.service.is_empty() && name.pod != Some(""));
            }
        }
    }
}
