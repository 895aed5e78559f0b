//! What the activator of this pod listens on: the ports in Tidegate's EndpointSlices, each with the pods that it leads to.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc, time::Duration};

use tidegate_activator::{Closed, Door, DoorProtocol, DoorRules, Doors};
use tidegate_core::{
    gate::{Gate, GatePort},
    plan::{Plan, PlannedWorkload, Replicas},
    signal::Signal,
    workload::WorkloadId,
};
use tokio::{
    sync::watch,
    time::{Instant, sleep},
};

use super::{blocked::Blocked, book::EndpointBook};

/// Function that returns whether requests wake a workload now; otherwise, when they next do.
pub type Openings = Arc<dyn Fn(&WorkloadId, &PlannedWorkload, &Plan) -> Option<Closed> + Send + Sync>;

/// Requests that one pod gets at one time while others are held, where the workload's annotations do not say.
const PER_POD: u32 = 100;
/// Pause between two looks: EndpointSlices of a rollout change together.
const SETTLE: Duration = Duration::from_millis(10);
/// Longest time between two looks, for the hours.
const LOOK: Duration = Duration::from_secs(1);
/// How long requests are still taken in after their slice, or this pod's address in it, has gone: until proxies have learned of that.
/// They would be refused otherwise, and a proxy's retries do not always find another endpoint that answers.
pub const LINGER: Duration = Duration::from_secs(5);

/// Keeps the doors up to date. Returns once no Plan can come any more.
pub async fn follow_doors(
    release: String,
    book: EndpointBook,
    mut plans: watch::Receiver<Option<Arc<Plan>>>,
    openings: Openings,
    blocked: Blocked,
    doors: watch::Sender<Arc<Doors>>,
) {
    let mut book_changes = book.changes();
    let mut closing = Closing::default();
    loop {
        book_changes.mark_unchanged();
        if let Some(plan) = plans.borrow_and_update().clone() {
            let before = Arc::clone(&doors.borrow());
            let mut now = of(&book, &release, &plan, &openings, &blocked, &before);
            closing.keep(&mut now, &before, Instant::now(), |door| book.ready(&door.service, &door.port).into());
            doors.send_if_modified(|doors| {
                let differs = **doors != now;
                if differs {
                    *doors = Arc::new(now);
                }
                differs
            });
        }
        tokio::select! {
            changed = book_changes.changed() => if changed.is_err() { return },
            changed = plans.changed() => if changed.is_err() { return },
            () = sleep(LOOK) => {}
        }
        sleep(SETTLE).await;
    }
}

/// When the slices of doors went that are open still.
#[derive(Debug, Default)]
struct Closing(BTreeMap<u16, Instant>);

impl Closing {
    /// Adds the doors of before whose slices have gone, as long as proxies may lead requests to them, with the pods that are ready now.
    fn keep(&mut self, doors: &mut Doors, before: &Doors, now: Instant, ready: impl Fn(&Door) -> Arc<[SocketAddr]>) {
        let gone: Vec<_> = before.iter().filter(|(port, _)| !doors.contains_key(port)).collect();
        self.0.retain(|port, _| gone.iter().any(|(gone, _)| *gone == port));
        for (port, door) in gone {
            let since = *self.0.entry(*port).or_insert(now);
            if now < since + LINGER {
                doors.insert(*port, Door { backends: ready(door), ..door.clone() });
            }
        }
    }
}

fn of(
    book: &EndpointBook,
    release: &str,
    plan: &Plan,
    openings: &Openings,
    blocked: &Blocked,
    before: &Doors,
) -> Doors {
    let mut gates = BTreeMap::new();
    for (id, workload) in &plan.workloads {
        for gate in workload.gates.iter().flat_map(|gates| gates.iter()) {
            gates.insert(&gate.service, (id, workload, gate));
        }
    }
    let mut doors = Doors::default();
    for (service, _, slice) in book.own(release) {
        for (name, number) in &slice.ports {
            let backends = book.ready(&service, name).into();
            let door = match gates.get(&service) {
                Some((id, workload, gate)) => rules(workload, openings(id, workload, plan), blocked.why(id))
                    .map(|rules| entrance(id, gate, name, backends, Arc::new(rules))),
                // The gate is about to go: what has come in is still served.
                None => before.get(number).cloned().map(|door| Door { backends, ..door }),
            };
            if let Some(door) = door {
                doors.insert(*number, door);
            }
        }
    }
    doors
}

fn entrance(id: &WorkloadId, gate: &Gate, port: &str, backends: Arc<[SocketAddr]>, rules: Arc<DoorRules>) -> Door {
    let is_raw = |known: &&GatePort| known.name == port && known.raw;
    let protocol =
        if gate.ports.iter().any(|known| is_raw(&known)) { DoorProtocol::Tcp } else { DoorProtocol::Sniffed };
    Door { service: gate.service.clone(), port: port.to_owned(), workload: id.clone(), protocol, backends, rules }
}

fn rules(workload: &PlannedWorkload, closed: Option<Closed>, blocked: Option<String>) -> Option<DoorRules> {
    let intent = workload.intent.as_ref().ok()?;
    let per_pod = intent.target(Signal::Concurrency).map_or(PER_POD, |target| target.get().ceil() as u32);
    Some(DoorRules {
        hold_timeout: intent.hold.timeout,
        per_pod: per_pod.max(1),
        ignore: intent.hold.ignore.clone(),
        limit: intent.hold.limit,
        closed,
        not_ready: not_ready(workload.replicas, blocked),
    })
}

fn not_ready(Replicas { wanted, ready }: Replicas, blocked: Option<String>) -> Option<String> {
    (ready == 0).then(|| match blocked {
        Some(why) => why,
        None if wanted == 0 => "KEDA has not given it a replica yet: look at its ScaledObject".to_owned(),
        None => format!("none of its {wanted} replicas is ready"),
    })
}

#[cfg(test)]
mod tests {
    use tidegate_core::{ids::ServiceId, workload::WorkloadRef};

    use super::*;

    fn door(service: &str) -> Door {
        Door {
            service: ServiceId { namespace: "shop".to_owned(), name: service.to_owned() },
            port: "http".to_owned(),
            workload: "deployment/api".parse::<WorkloadRef>().unwrap().within("shop"),
            protocol: DoorProtocol::Sniffed,
            backends: [].into(),
            rules: Arc::default(),
        }
    }

    #[test]
    fn a_door_stays_open_for_5_s_after_its_slice_has_gone_and_leads_to_the_pods_that_are_ready_then() {
        let (mut closing, start) = (Closing::default(), Instant::now());
        let pod = SocketAddr::from(([10, 0, 0, 1], 8000));
        let mut open = Doors::from([(20_000, door("api")), (20_001, door("web"))]);
        let mut after = |slices: &[(u16, &str)], millis: u64| -> Vec<(u16, String, usize)> {
            let mut doors: Doors = slices.iter().map(|(port, service)| (*port, door(service))).collect();
            closing.keep(&mut doors, &open, start + Duration::from_millis(millis), |_| [pod].into());
            open = doors;
            open.iter().map(|(port, door)| (*port, door.service.name.clone(), door.backends.len())).collect()
        };
        let (api, web) = ((20_000, "api".to_owned(), 1), (20_001, "web".to_owned(), 0));
        assert_eq!(after(&[(20_001, "web")], 0), [api.clone(), web.clone()]);
        assert_eq!(after(&[(20_001, "web")], 4_999), [api.clone(), web.clone()]);
        assert_eq!(after(&[(20_001, "web")], 5_000), [web]);
        assert_eq!(after(&[(20_000, "api")], 6_000).len(), 2);
        assert_eq!(after(&[], 7_000).len(), 2, "the slice of api was there again, and its time begins anew");
        assert_eq!(after(&[], 11_000), [api]);
        assert_eq!(after(&[(20_000, "other")], 11_500), [(20_000, "other".to_owned(), 0)], "its port was given away");
    }

    #[test]
    fn the_reason_of_the_pods_comes_before_the_number_of_replicas() {
        let told =
            |wanted, ready, blocked: Option<&str>| not_ready(Replicas { wanted, ready }, blocked.map(str::to_owned));
        assert_eq!(told(2, 0, Some("it crashes")).as_deref(), Some("it crashes"));
        assert_eq!(told(2, 0, None).as_deref(), Some("none of its 2 replicas is ready"));
        assert_eq!(told(2, 1, Some("it crashes")), None);
        assert!(told(0, 0, None).is_some_and(|why| why.contains("KEDA")));
    }
}
