//! The first process inside the namespaces: boots the peers, runs the command, and takes them along when it ends.

use std::{env, ffi::OsString, fs, path::Path, process::ExitCode, time::Instant};

use anyhow::{Context, Result};
use tokio::{
    process::{Child, Command},
    signal::unix::{SignalKind, signal},
    time::{Duration, timeout},
};

use crate::{network, owner::exit_code, plane::Plane, pods::Runner, services, settings::Settings};

/// Time that the command has to end by itself when the stack is told to end.
const GRACE: Duration = Duration::from_secs(10);

/// Boots what `run/settings.json` describes and runs its command; the command's exit code.
pub async fn run(run: &Path) -> Result<ExitCode> {
    let start = Instant::now();
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let settings: Settings = serde_json::from_slice(&fs::read(run.join("settings.json"))?)?;
    network::set_up(&run.join("state"))?;
    let plane = Plane::new(settings, run)?;
    let boot = async {
        let client = plane.boot_kubernetes().await?;
        services::serve(client.clone()).await.context("the DNS server")?;
        tokio::spawn(Runner::new(&plane, client.clone()).run());
        plane.boot_rest(&client).await
    };
    tokio::select! {
        booted = boot => booted.context("the stack did not boot")?,
        _ = interrupt.recv() => return Ok(ExitCode::from(130)),
        _ = terminate.recv() => return Ok(ExitCode::from(143)),
    }
    eprintln!("stack ready after {:.1} s", start.elapsed().as_secs_f64());

    let mut command = start_command(&plane, run)?;
    let status = tokio::select! {
        status = command.wait() => status?,
        // Ctrl-C has reached the command too.
        _ = interrupt.recv() => return Ok(leave(&mut command, 130).await),
        _ = terminate.recv() => return Ok(leave(&mut command, 143).await),
    };
    Ok(ExitCode::from(exit_code(status)))
}

fn start_command(plane: &Plane, run: &Path) -> Result<Child> {
    let [program, arguments @ ..] = plane.settings.command.as_slice() else { anyhow::bail!("no command") };
    Command::new(program)
        .args(arguments)
        .env("KUBECONFIG", plane.kubeconfig())
        .env("TIDEGATE_STACK", run.join("control.sock"))
        .env("PATH", path(plane)?)
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("cannot run {program}"))
}

/// `PATH` with our own programs, `kubectl` and `helm` in front.
fn path(plane: &Plane) -> Result<OsString> {
    let mut folders = vec![plane.settings.programs.clone()];
    for name in ["kubectl", "helm"] {
        folders.extend(plane.settings.peers.get(name).and_then(|program| program.parent()).map(Path::to_owned));
    }
    folders.extend(env::split_paths(&env::var_os("PATH").unwrap_or_default()));
    Ok(env::join_paths(folders)?)
}

async fn leave(command: &mut Child, code: u8) -> ExitCode {
    if let Some(pid) = command.id().and_then(|id| rustix::process::Pid::from_raw(id.try_into().ok()?)) {
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
    }
    let _ = timeout(GRACE, command.wait()).await;
    ExitCode::from(code)
}
