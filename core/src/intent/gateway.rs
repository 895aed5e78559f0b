//! A user's intent for the proxies of a Gateway.

use std::time::Duration;

use super::{
    Annotations, Bounds,
    reader::{Reader, unknown_keys},
    schedule::{OffHours, ScheduleIntent},
};
use crate::{
    calendar::Calendars,
    key::{Key, PREFIX, Place, STATUS},
    problem::Problem,
    schedule::Schedule,
    signal::{Family, Signal, Target},
    value::{self, ReadKeys},
};

/// The intent of one Gateway's annotations.
#[derive(Debug, Clone, PartialEq)]
pub struct GatewayIntent {
    /// Lowest number of proxies inside hours, if given
    pub min: Option<u32>,
    /// Highest number of proxies, if given
    pub max: Option<u32>,
    /// The signals that decide; the largest need wins
    pub targets: Vec<Target>,
    /// Stabilisation window: proxies go down only to the highest number that was wanted within it
    pub scale_down_after: Duration,
    /// Whether everything is left as it is
    pub paused: bool,
    /// Business hours
    pub schedule: Option<ScheduleIntent>,
    /// Whether an EnvoyProxy is created and linked where there is none
    pub create_envoy_proxy: bool,
}

impl GatewayIntent {
    /// Parses the annotations of a Gateway over the defaults of its Namespace. `Ok(None)` when it carries no key of its own.
    pub fn of_gateway(
        own: &Annotations,
        namespace: &str,
        defaults: &Annotations,
    ) -> Result<Option<Self>, Vec<Problem>> {
        if !is_annotated(own) {
            return Ok(None);
        }
        let mut problems = unknown_keys(own, Place::Gateway);
        let mut reader = Reader { own, namespace, defaults, problems: &mut problems };
        let intent = Self::read(&mut reader);
        let Bounds { min, max } = Bounds::default();
        reader.check_bounds(Bounds { min: intent.min.unwrap_or(min), max: intent.max.unwrap_or(max) });
        reader.check_needs(Place::Gateway);
        if problems.is_empty() { Ok(Some(intent)) } else { Err(problems) }
    }

    fn read(reader: &mut Reader<'_>) -> Self {
        let traffic = Signal::ALL.into_iter().filter(|signal| signal.family() == Family::Traffic);
        let targets = traffic.filter_map(|signal| {
            let per_replica = reader.read(signal.target_key()?, value::per_replica)?;
            Some(Target { signal, per_replica })
        });
        let targets = targets.collect();
        Self {
            min: reader.read(Key::MinReplicas, value::replicas),
            max: reader.read(Key::MaxReplicas, value::max_replicas),
            targets,
            scale_down_after: reader.read(Key::ScaleDownAfter, value::window).unwrap_or(Duration::from_mins(5)),
            paused: reader.read(Key::Paused, value::boolean).unwrap_or(false),
            schedule: reader.gateway_schedule(),
            create_envoy_proxy: reader.read(Key::CreateEnvoyProxy, value::boolean).unwrap_or(false),
        }
    }

    /// The schedule of the Gateway of this name, if it has hours, with this floor inside them.
    pub fn schedule(&self, name: &str, floor: u32, calendars: &Calendars) -> Result<Option<Schedule>, Problem> {
        let Some(schedule) = &self.schedule else { return Ok(None) };
        let off_hours = OffHours { replicas: schedule.off_hours_replicas.unwrap_or(1), floor: 0 };
        schedule.resolve(name, floor, off_hours, calendars)
    }

    /// Whether only hours are asked for, without a minimum: inside them there are as many proxies as Tidegate found.
    pub fn adopts(&self) -> bool {
        self.targets.is_empty() && self.min.is_none()
    }
}

/// Whether an object carries a key that a user wrote: any but the status.
pub fn is_annotated(own: &Annotations) -> bool {
    own.keys().any(|key| key.starts_with(PREFIX) && key != STATUS)
}

impl Reader<'_> {
    /// Without proxies nothing in a namespace is reachable, so a zero from the Namespace, which is meant for its workloads, is one
    /// proxy here.
    fn gateway_schedule(&mut self) -> Option<ScheduleIntent> {
        let own = self.own.contains_key(Key::OffHoursReplicas.annotation());
        let mut schedule = ScheduleIntent::read(self)?;
        if !own {
            schedule.off_hours_replicas = schedule.off_hours_replicas.map(|replicas| replicas.max(1));
        }
        Some(schedule)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn annotations(pairs: &[(&str, &str)]) -> Annotations {
        pairs.iter().map(|(key, value)| (format!("{PREFIX}{key}"), (*value).to_owned())).collect()
    }

    fn parse(own: &[(&str, &str)], namespace: &[(&str, &str)]) -> Result<Option<GatewayIntent>, Vec<String>> {
        GatewayIntent::of_gateway(&annotations(own), "shop", &annotations(namespace))
            .map_err(|problems| problems.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn a_gateway_is_scaled_when_it_says_so_itself() {
        assert_eq!(parse(&[], &[("manage", "all"), ("hours", "24/7"), ("timezone", "UTC")]), Ok(None));
        assert_eq!(parse(&[("status", "{}")], &[]), Ok(None), "what Tidegate wrote asks for nothing");
        let intent = parse(&[("requests-per-second", "500"), ("min-replicas", "2")], &[("max-replicas", "4")]);
        let intent = intent.unwrap().unwrap();
        assert_eq!((intent.min, intent.max, intent.targets.len()), (Some(2), Some(4), 1));
    }

    #[test]
    fn keys_of_workloads_are_refused_on_a_gateway() {
        let [problem] = &parse(&[("kafka-lag", "50")], &[]).unwrap_err()[..] else { panic!() };
        assert!(problem.contains("tidegate.dev/kafka-lag") && problem.contains("Gateway"), "{problem}");
    }

    #[test]
    fn outside_hours_one_proxy_is_kept_unless_the_gateway_itself_asks_for_none() {
        let hours = [("hours", "Mo-Fr 08:00-18:00"), ("timezone", "UTC")];
        let of = |own: &[(&str, &str)], namespace: &[(&str, &str)]| {
            let intent = parse(&[&hours, own].concat(), namespace).unwrap().unwrap();
            intent.schedule("web", 2, &Calendars::new()).unwrap().unwrap().off_hours_replicas
        };
        assert_eq!(of(&[], &[]), 1);
        assert_eq!(of(&[], &[("off-hours-replicas", "0")]), 1);
        assert_eq!(of(&[], &[("off-hours-replicas", "3")]), 3);
        assert_eq!(of(&[("off-hours-replicas", "0")], &[]), 0);
    }

    proptest! {
        #[test]
        fn no_input_panics(
            pairs in proptest::collection::btree_map("(min-replicas|hours|calendar|connections|[a-z-]{0,20})", ".{0,200}", 0..6)
        ) {
            let own = pairs.into_iter().map(|(key, value)| (format!("{PREFIX}{key}"), value)).collect();
            let _ = GatewayIntent::of_gateway(&own, "shop", &Annotations::new());
        }
    }
}
