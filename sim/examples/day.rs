//! A working day in a moment: simulates KEDA and the HPA over a load, and writes the report.
//!
//!     cargo run -p tidegate-sim --example day -- day.html

use std::{env, error::Error, path::Path, time::Duration};

use tidegate_sim::{
    hpa::ControllerFlags,
    keda::{Sample, ScaledObject, Simulation},
    load::Profile,
    report::{Point, Recording},
};

const PER_REPLICA: f64 = 100.0;
/// The most that one replica can serve; requests beyond it fail.
const BREAKS_AT: f64 = 160.0;

fn main() -> Result<(), Box<dyn Error>> {
    let path = env::args().nth(1).ok_or("usage: day FILE.html")?;
    let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
    let load = Profile::starting_at(0.0)
        .hold(minutes(30))
        .ramp_to(900.0, minutes(60))
        .sine(250.0, minutes(120), minutes(240))
        .step_to(1900.0)
        .hold(minutes(20))
        .ramp_to(300.0, minutes(60))
        .step_to(0.0)
        .hold(minutes(60));
    let object: ScaledObject = serde_saphyr::from_str(
        "metadata: { name: task-api }\n\
         spec: { minReplicaCount: 0, maxReplicaCount: 20, triggers: [{ type: external-push }] }",
    )?;

    let seconds = || (0..=load.duration().as_secs()).step_by(15).map(Duration::from_secs);
    let sample = |at| Sample { at, values: vec![Some(load.at(at))], active: load.at(at) > 0.0 };
    let samples: Vec<_> = seconds().map(sample).collect();
    let simulation = Simulation::new(object.spec, &[("requests-per-second", PER_REPLICA)], ControllerFlags::default());
    let run = simulation.run(0, &samples, load.duration());

    let mut recording = Recording::new(
        "A working day of the task API",
        "KEDA 2.21 and the HPA of Kubernetes 1.37, simulated",
        PER_REPLICA,
    );
    run.reports.iter().for_each(|report| recording.note(report));
    recording.points.extend(seconds().map(|at| {
        // A pod takes half a minute to get ready.
        let ready = run.replicas_at(at.saturating_sub(Duration::from_secs(30))).min(run.replicas_at(at));
        let not_ok = (load.at(at) - f64::from(ready) * BREAKS_AT).max(0.0);
        Point { at, load: load.at(at), metric: Some(load.at(at)), desired: run.replicas_at(at), ready, not_ok }
    }));
    recording.write(Path::new(&path))?;
    Ok(())
}
