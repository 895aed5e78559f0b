//! The owner of a stack: it creates the namespaces, waits for the command to end, and then takes everything down.

use std::{
    env,
    fs::{self, File},
    io::Write,
    os::unix::process::CommandExt,
    path::Path,
    process::{ExitCode, ExitStatus},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, getuid, kill_process};
use tokio::{
    process::{Child, Command},
    runtime,
    signal::unix::{SignalKind, signal},
    time::timeout,
};

use crate::{exit_code::exit_code, inside, settings::Settings};

/// Name prefix of the folders of runs.
const PREFIX: &str = "tidegate-stack-";

/// File in the folder of a run that holds the process id of `unshare`; locked while its owner lives.
const PID: &str = "pid";

/// Time that the inside has to end after the signal.
const GOODBYE: Duration = Duration::from_secs(20);

/// Runs the command of `settings` inside a new stack, and returns its exit code.
///
/// The inside is the first process of a PID namespace. The kernel kills it when `unshare` dies, and kills `unshare` when
/// this process dies: so nothing outlives the owner, however that ends.
pub fn run(settings: &Settings) -> Result<ExitCode> {
    sweep()?;
    let run = tempfile::Builder::new().prefix(PREFIX).tempdir()?;
    fs::create_dir(run.path().join("logs"))?;
    fs::write(run.path().join("settings.json"), serde_json::to_vec(settings)?)?;

    let mut owned = File::create(run.path().join(PID))?;
    owned.lock()?;
    // On this thread, which lives as long as the process: the kernel kills the child when the thread that started it ends.
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    let status = runtime.block_on(async {
        let mut inside = start(run.path())?;
        write!(owned, "{}", inside.id().unwrap_or_default())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let mut hang_up = signal(SignalKind::hangup())?;
        let told = tokio::select! {
            status = inside.wait() => return Ok((status?, true)),
            _ = interrupt.recv() => Signal::INT,
            _ = terminate.recv() => Signal::TERM,
            _ = hang_up.recv() => Signal::TERM,
        };
        anyhow::Ok((end(&mut inside, told).await?, false))
    });
    let (status, by_itself) = status?;
    let code = exit_code(status);
    if by_itself && code != 0 {
        let run = run.keep();
        fs::remove_file(run.join(PID))?;
        eprintln!("the peers' logs are in {}", run.join("logs").display());
    }
    Ok(ExitCode::from(code))
}

/// Removes the folders of stacks whose owner was killed before it could: nobody holds their lock any more.
fn sweep() -> Result<()> {
    for entry in fs::read_dir(env::temp_dir())? {
        let folder = entry?.path();
        let is_ours = folder.file_name().is_some_and(|name| name.to_string_lossy().starts_with(PREFIX));
        if is_ours && File::open(folder.join(PID)).is_ok_and(|pid| pid.try_lock().is_ok()) {
            // Errors are ignored: another stack may be removing the same folder, and folders of other users are theirs.
            let _ = fs::remove_dir_all(folder);
        }
    }
    Ok(())
}

/// Replaces this process with `command`, or a shell if it is empty, inside the stack whose folder is `run`. Returns only with an error.
pub fn enter(run: &Path, command: &[String]) -> Result<ExitCode> {
    let pid = fs::read_to_string(run.join(PID)).with_context(|| format!("no stack runs in {}", run.display()))?;
    let inside = pid.parse().ok().and_then(first_child);
    let inside = inside.with_context(|| format!("the stack in {} has ended", run.display()))?.as_raw_nonzero();
    let shell = vec![env::var("SHELL").unwrap_or_else(|_| "sh".to_owned())];
    let command = if command.is_empty() { &shell } else { command };
    let mut nsenter = std::process::Command::new("nsenter");
    nsenter.args(["--target", &inside.to_string(), "--net", "--mount", "--pid"]);
    if !getuid().is_root() {
        nsenter.args(["--user", "--preserve-credentials"]);
    }
    let settings: Settings = serde_json::from_slice(&fs::read(run.join("settings.json"))?)?;
    nsenter.arg("--").args(command).envs(inside::environment(&settings, run)?);
    Err(nsenter.exec()).context("nsenter is missing; install it with: apt-get install util-linux")
}

fn start(run: &Path) -> Result<Child> {
    may_unshare()?;
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "unshare"]).args(NAMESPACES).args(user_namespace());
    command.args(["--fork", "--kill-child", "--mount-proc"]).arg(env::current_exe()?).arg("inside").arg(run);
    command.spawn().context("setpriv is missing; install it with: apt-get install util-linux")
}

const NAMESPACES: [&str; 3] = ["--net", "--mount", "--pid"];

/// Arguments that make any other user root, in a user namespace.
fn user_namespace() -> &'static [&'static str] {
    if getuid().is_root() { &[] } else { &["--user", "--map-root-user"] }
}

fn may_unshare() -> Result<()> {
    let mut unshare = std::process::Command::new("unshare");
    let output = unshare.args(NAMESPACES).args(user_namespace()).args(["--fork", "true"]).output();
    let output = output.context("unshare is missing; install it with: apt-get install util-linux")?;
    if !output.status.success() {
        bail!(
            "this machine does not let this user make namespaces ({}). Run it as root; in a container give that one \
             CAP_SYS_ADMIN and CAP_NET_ADMIN; on Ubuntu: sysctl kernel.apparmor_restrict_unprivileged_userns=0",
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(())
}

/// Signals the inside to end, and kills it if it does not.
async fn end(unshare: &mut Child, told: Signal) -> Result<ExitStatus> {
    let inside = unshare.id().and_then(first_child).context("the stack has not come up")?;
    kill_process(inside, told)?;
    if let Ok(status) = timeout(GOODBYE, unshare.wait()).await {
        return Ok(status?);
    }
    unshare.kill().await?;
    bail!("the stack did not end within {GOODBYE:?} and was killed")
}

fn first_child(pid: u32) -> Option<Pid> {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).ok()?;
    Pid::from_raw(children.split_whitespace().next()?.parse().ok()?)
}
