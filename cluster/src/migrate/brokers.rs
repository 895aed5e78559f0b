//! Names for the Kafka clusters that triggers reach by their brokers.

use super::draft::Remark;

/// The Kafka clusters of all objects: their brokers and the name of each.
#[derive(Debug, Default)]
pub(super) struct Brokers(Vec<(Vec<String>, String)>);

impl Brokers {
    /// The name of the cluster with these brokers, `HOST:PORT` separated by commas: that of the first host.
    pub(super) fn name(&mut self, bootstrap_servers: &str) -> Option<String> {
        let mut brokers: Vec<_> = bootstrap_servers.split(',').map(|broker| broker.trim().to_owned()).collect();
        brokers.retain(|broker| !broker.is_empty());
        let first = host_label(brokers.first()?);
        brokers.sort();
        if let Some((_, name)) = self.0.iter().find(|(known, _)| *known == brokers) {
            return Some(name.clone());
        }
        let taken = |name: &String| self.0.iter().any(|(_, known)| known == name);
        let numbered = (2..).map(|number| format!("{first}-{number}"));
        let name = std::iter::once(first.clone()).chain(numbered).find(|name| !taken(name))?;
        self.0.push((brokers, name.clone()));
        Some(name)
    }

    /// What has to stand in the chart's values.
    pub(super) fn remarks(self) -> impl Iterator<Item = Remark> {
        self.0.into_iter().map(|(brokers, name)| {
            let brokers = serde_json::json!(brokers);
            Remark {
                object: format!("Kafka cluster {name}"),
                field: "kafka.clusters".to_owned(),
                text: format!(
                    "set {name}: {{brokers: {brokers}}} there in the chart's values, with tls and sasl as in the trigger's \
                     TriggerAuthentication; `tidegate kafka check {name}` tries it"
                ),
                lost: false,
            }
        })
    }
}

/// The first label of a host in letters, digits and dashes.
fn host_label(broker: &str) -> String {
    let label = broker.split(['.', ':']).next().unwrap_or_default().to_ascii_lowercase();
    let kept: String = label.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).take(50).collect();
    match kept.trim_matches('-') {
        "" => "kafka".to_owned(),
        kept => kept.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_list_of_brokers_has_one_name_and_two_have_two() {
        let mut brokers = Brokers::default();
        for (servers, wanted) in [
            ("events-kafka-bootstrap.kafka.svc:9092", Some("events-kafka-bootstrap")),
            ("b-1.msk.eu:9098, b-2.msk.eu:9098", Some("b-1")),
            ("b-2.msk.eu:9098,b-1.msk.eu:9098", Some("b-1")),
            ("b-1.other.eu:9098", Some("b-1-2")),
            ("_:9092", Some("kafka")),
            (" , ", None),
        ] {
            assert_eq!(brokers.name(servers).as_deref(), wanted, "{servers}");
        }
        assert_eq!(brokers.remarks().count(), 4);
    }
}
