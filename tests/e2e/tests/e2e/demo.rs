//! `tidegate demo` leaves no process behind, however it ends.

use std::{fs, path::Path, process::Stdio, time::Duration};

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};
use tidegate_e2e::{cluster::Cluster, kubectl::run, scenario::until};
use tokio::{
    process::{Child, Command},
    time::timeout,
};

/// Starts a demo, and returns once it has an Envoy and a backend: itself, and the ids of these.
async fn demo(duration: &str) -> Result<(Child, Vec<i32>)> {
    let envoy = run("stack", &["path", "envoy"], None).await?;
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/task-api/simple.yaml");
    let demo = Command::new("tidegate")
        .args(["demo", "--duration", duration, "--manifest", manifest, "--envoy", envoy.trim()])
        .args(["--report", "/dev/null"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()?;
    let pid = demo.id().context("the demo has ended")?.cast_signed();
    until("the demo has an Envoy and a backend", async || {
        let names = children(pid)?.into_iter().map(|(_, name)| name).collect::<Vec<_>>();
        ensure!(names.iter().any(|name| name.starts_with("envoy")), "{names:?}");
        ensure!(names.iter().any(|name| name.starts_with("task-api")), "{names:?}");
        Ok(())
    })
    .await?;
    Ok((demo, children(pid)?.into_iter().map(|(pid, _)| pid).collect()))
}

/// The processes that a process has started and that still run: their ids and names.
fn children(parent: i32) -> Result<Vec<(i32, String)>> {
    let all = fs::read_dir("/proc")?.filter_map(|entry| process(&entry.ok()?.path()));
    Ok(all.filter(|(_, _, of)| *of == parent).map(|(pid, name, _)| (pid, name)).collect())
}

/// Id, name and parent of a process that runs.
fn process(folder: &Path) -> Option<(i32, String, i32)> {
    let pid = folder.file_name()?.to_str()?.parse().ok()?;
    let stat = fs::read_to_string(folder.join("stat")).ok()?;
    let (before, after) = stat.rsplit_once(") ")?;
    let mut fields = after.split_whitespace();
    let runs = !fields.next()?.starts_with(['Z', 'X']);
    runs.then_some((pid, before.split_once('(')?.1.to_owned(), fields.next()?.parse().ok()?))
}

async fn all_end(started: &[i32]) -> Result<()> {
    until("what the demo started has ended", async || {
        let left = started.iter().filter(|pid| process(Path::new(&format!("/proc/{pid}"))).is_some()).count();
        ensure!(left == 0, "{left} of {} processes are left", started.len());
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_demo_leaves_no_process_behind_at_its_end_after_ctrl_c_and_when_it_is_killed() -> Result<()> {
    let _cluster = Cluster::shared().await?;
    let (mut ended, of_ended) = demo("3s").await?;
    let status = timeout(Duration::from_secs(60), ended.wait()).await??;
    ensure!(status.success(), "{status}");
    all_end(&of_ended).await?;

    for signal in [Signal::INT, Signal::KILL] {
        let (mut demo, started) = demo("10m").await?;
        let pid = demo.id().and_then(|pid| Pid::from_raw(pid.cast_signed())).context("it has ended")?;
        kill_process(pid, signal)?;
        timeout(Duration::from_secs(60), demo.wait()).await??;
        all_end(&started).await?;
    }
    Ok(())
}
