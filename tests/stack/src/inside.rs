//! The first process inside the namespaces: it boots the peers and runs the command; the peers end with it.

use std::{
    env,
    ffi::OsString,
    fs,
    path::Path,
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    process::{Child, Command},
    signal::unix::{SignalKind, signal},
    time::timeout,
};

use crate::{control, exit_code::exit_code, network, plane::Plane, pods::Runner, services, settings::Settings};

/// The control socket in the folder of a run.
const SOCKET: &str = "control.sock";

/// Time that the command has to end by itself after the stack is signalled to end.
const GRACE: Duration = Duration::from_secs(10);

/// Boots the stack that `run/settings.json` describes, runs its command, and returns the command's exit code.
pub async fn run(run: &Path) -> Result<ExitCode> {
    let start = Instant::now();
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let settings: Settings = serde_json::from_slice(&fs::read(run.join("settings.json"))?)?;
    network::set_up(&run.join("state"))?;
    let plane = Plane::new(settings, run)?;
    control::serve(&run.join(SOCKET), &plane.processes)?;
    let boot = async {
        let client = plane.boot_kubernetes().await?;
        services::serve(client.clone()).await.context("the DNS server")?;
        tokio::spawn(Runner::new(&plane, client.clone()).run());
        Box::pin(plane.boot_rest(&client)).await
    };
    tokio::select! {
        booted = boot => booted.context("the stack did not boot")?,
        _ = interrupt.recv() => return Ok(ExitCode::from(130)),
        _ = terminate.recv() => return Ok(ExitCode::from(143)),
    }
    eprintln!("stack ready after {:.1} s", start.elapsed().as_secs_f64());

    let mut command = start_command(&plane.settings, run)?;
    let status = tokio::select! {
        status = command.wait() => status?,
        // Ctrl-C has reached the command too.
        _ = interrupt.recv() => return Ok(leave(&mut command, 130).await),
        _ = terminate.recv() => return Ok(leave(&mut command, 143).await),
    };
    Ok(ExitCode::from(exit_code(status)))
}

/// Environment of commands inside: our own programs, `kubectl`, `helm` and `kafka` in front of `PATH`, and how to reach the API
/// server and the stack.
pub(crate) fn environment(settings: &Settings, run: &Path) -> Result<Vec<(&'static str, OsString)>> {
    let mut folders = vec![settings.programs.clone()];
    for name in ["kubectl", "helm", "kafka"] {
        folders.extend(settings.peers.get(name).and_then(|program| program.parent()).map(Path::to_owned));
    }
    folders.extend(env::split_paths(&env::var_os("PATH").unwrap_or_default()));
    let enter = format!("{} enter {}", env::current_exe()?.display(), run.display());
    Ok(vec![
        ("PATH", env::join_paths(folders)?),
        ("KUBECONFIG", run.join("state/kubeconfig").into()),
        ("TIDEGATE_STACK", run.join(SOCKET).into()),
        ("TIDEGATE_ENTER", enter.into()),
    ])
}

fn start_command(settings: &Settings, run: &Path) -> Result<Child> {
    let [program, arguments @ ..] = settings.command.as_slice() else { bail!("no command") };
    let mut command = Command::new(program);
    command.args(arguments).envs(environment(settings, run)?).kill_on_drop(true);
    command.spawn().with_context(|| format!("cannot run {program}"))
}

async fn leave(command: &mut Child, code: u8) -> ExitCode {
    if let Some(pid) = command.id().and_then(|id| Pid::from_raw(id.try_into().ok()?)) {
        // It may just have ended.
        let _ = kill_process(pid, Signal::TERM);
    }
    let _ = timeout(GRACE, command.wait()).await;
    ExitCode::from(code)
}
