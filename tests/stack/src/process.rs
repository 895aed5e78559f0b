//! One process that is kept running: started again when it ends, unless it was asked to stay down.

use std::{
    fs::File,
    io,
    path::PathBuf,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, anyhow};
use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};
use tokio::{
    process::{Child, Command},
    sync::{mpsc, oneshot, watch},
    time::{Instant, sleep_until, timeout},
};

/// A program to run, and how to supervise it.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    pub(crate) name: String,
    /// The program and its arguments.
    pub(crate) command: Vec<String>,
    pub(crate) env: Vec<(String, String)>,
    /// Whether it gets only `env`, without our own environment.
    pub(crate) clear_env: bool,
    /// File for its output, across all restarts.
    pub(crate) log: PathBuf,
    /// Time between SIGTERM and SIGKILL.
    pub(crate) grace: Duration,
    /// Whether an end that nobody asked for is reported on stderr.
    pub(crate) loud: bool,
}

/// An order to a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Order {
    /// SIGTERM, then SIGKILL after the grace period; it stays down.
    Stop,
    Start,
    /// SIGKILL; it is started again, as after a crash.
    Kill,
}

/// State of a process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Its process id inside the stack, while it runs.
    pub pid: Option<i32>,
    /// Number of restarts.
    pub restarts: u32,
    /// Description of its last exit.
    pub last_exit: Option<String>,
    /// Whether it was asked to stay down.
    pub stopped: bool,
}

/// The handle of a process. When all handles are dropped the process is killed.
#[derive(Clone, Debug)]
pub(crate) struct Supervised {
    orders: mpsc::Sender<(Order, oneshot::Sender<Result<()>>)>,
    status: watch::Receiver<Status>,
}

impl Supervised {
    /// Starts `program`; an error if it cannot be executed.
    pub(crate) fn start(program: Program) -> Result<Self> {
        let (orders, inbox) = mpsc::channel(8);
        let child = spawn(&program)?;
        let (status, seen) = watch::channel(Status { pid: pid(&child), ..Status::default() });
        let keeper = Keeper { program, child: Some(child), started: Instant::now(), again: None, failures: 0, status };
        tokio::spawn(keeper.keep(inbox));
        Ok(Self { orders, status: seen })
    }

    /// Sends an order; returns once it is carried out.
    pub(crate) async fn order(&self, order: Order) -> Result<()> {
        let (done, answer) = oneshot::channel();
        self.orders.send((order, done)).await.map_err(|_| anyhow!("it is gone"))?;
        answer.await.context("it is gone")?
    }

    pub(crate) fn status(&self) -> Status {
        self.status.borrow().clone()
    }

    /// Waits until the process has ended although it was started again once, and returns how.
    pub(crate) async fn ends_again(&self) -> String {
        let mut status = self.status.clone();
        let ended = status.wait_for(|status| status.restarts > 0 && status.pid.is_none()).await;
        ended.ok().and_then(|status| status.last_exit.clone()).unwrap_or_default()
    }

    /// Changes of the status.
    pub(crate) fn watch(&self) -> watch::Receiver<Status> {
        self.status.clone()
    }
}

/// The first wait before a process that ended is started again; doubled each time, up to the longest.
const FIRST_BACK_OFF: Duration = Duration::from_millis(200);
const LONGEST_BACK_OFF: Duration = Duration::from_secs(2);
/// Uptime after which the next restart uses the first wait again.
const WELL: Duration = Duration::from_secs(10);

struct Keeper {
    program: Program,
    child: Option<Child>,
    started: Instant,
    /// Time of the next restart, if one is scheduled.
    again: Option<Instant>,
    failures: u32,
    status: watch::Sender<Status>,
}

impl Keeper {
    async fn keep(mut self, mut inbox: mpsc::Receiver<(Order, oneshot::Sender<Result<()>>)>) {
        loop {
            tokio::select! {
                ended = ended(&mut self.child) => self.note_end(&ended),
                () = due(self.again) => self.restart(),
                order = inbox.recv() => match order {
                    Some((order, done)) => {
                        let result = self.obey(order).await;
                        // The sender may have left.
                        let _ = done.send(result);
                    }
                    None => return self.kill().await,
                },
            }
        }
    }

    async fn obey(&mut self, order: Order) -> Result<()> {
        match order {
            Order::Stop => {
                self.again = None;
                self.status.send_modify(|status| status.stopped = true);
                if let Some(child) = &mut self.child {
                    signal(child, Signal::TERM);
                    if let Ok(status) = timeout(self.program.grace, child.wait()).await {
                        self.forget(&describe(&status));
                    } else {
                        self.kill().await;
                    }
                }
                Ok(())
            }
            Order::Start => {
                self.failures = 0;
                self.status.send_modify(|status| status.stopped = false);
                if self.child.is_none() { self.try_start() } else { Ok(()) }
            }
            Order::Kill => {
                if self.child.is_none() {
                    return Err(anyhow!("it does not run"));
                }
                self.kill().await;
                self.schedule();
                Ok(())
            }
        }
    }

    async fn kill(&mut self) {
        if let Some(child) = &mut self.child {
            signal(child, Signal::KILL);
            let status = child.wait().await;
            self.forget(&describe(&status));
        }
    }

    fn note_end(&mut self, how: &str) {
        // Reported once per series of failures, not at each restart.
        if self.program.loud && self.failures == 0 {
            eprintln!("{} ended ({how}) and is started again; see {}", self.program.name, self.program.log.display());
        }
        self.forget(how);
        self.schedule();
    }

    fn forget(&mut self, how: &str) {
        self.child = None;
        if self.started.elapsed() >= WELL {
            self.failures = 0;
        }
        self.status.send_modify(|status| {
            status.pid = None;
            status.last_exit = Some(how.to_owned());
        });
    }

    fn schedule(&mut self) {
        let wait = FIRST_BACK_OFF.saturating_mul(1 << self.failures.min(10)).min(LONGEST_BACK_OFF);
        self.failures += 1;
        self.again = Some(Instant::now() + wait);
    }

    fn restart(&mut self) {
        match self.try_start() {
            Ok(()) => self.status.send_modify(|status| status.restarts += 1),
            Err(error) => {
                eprintln!("{}: {error:#}", self.program.name);
                self.schedule();
            }
        }
    }

    fn try_start(&mut self) -> Result<()> {
        self.again = None;
        let child = spawn(&self.program)?;
        self.started = Instant::now();
        self.status.send_modify(|status| status.pid = pid(&child));
        self.child = Some(child);
        Ok(())
    }
}

/// Spawns it in its own process group: Ctrl-C in the terminal is for the command that the stack runs, not for its peers.
fn spawn(program: &Program) -> Result<Child> {
    let output = File::options().create(true).append(true).open(&program.log)?;
    let [executable, arguments @ ..] = program.command.as_slice() else {
        return Err(anyhow!("{} has no command", program.name));
    };
    let mut command = Command::new(executable);
    if program.clear_env {
        command.env_clear();
    }
    command
        .args(arguments)
        .envs(program.env.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(output)
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("cannot run {executable}"))
}

async fn ended(child: &mut Option<Child>) -> String {
    match child {
        Some(child) => describe(&child.wait().await),
        None => std::future::pending().await,
    }
}

async fn due(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}

fn describe(status: &io::Result<ExitStatus>) -> String {
    match status {
        Ok(status) => status.to_string(),
        Err(error) => error.to_string(),
    }
}

fn pid(child: &Child) -> Option<i32> {
    child.id().and_then(|id| id.try_into().ok())
}

/// A process that has just ended cannot be signalled, and need not be.
fn signal(child: &Child, signal: Signal) {
    if let Some(pid) = pid(child).and_then(Pid::from_raw) {
        let _ = kill_process(pid, signal);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program(folder: &std::path::Path, script: &str) -> Program {
        Program {
            name: "test".to_owned(),
            command: ["sh", "-c", script].map(str::to_owned).to_vec(),
            env: Vec::new(),
            clear_env: false,
            log: folder.join("log"),
            grace: Duration::from_millis(200),
            loud: false,
        }
    }

    #[tokio::test]
    async fn a_killed_process_comes_back_and_a_stopped_one_stays_down() {
        let folder = tempfile::tempdir().unwrap();
        let process = Supervised::start(program(folder.path(), "exec sleep 60")).unwrap();
        let first = process.status().pid.unwrap();
        process.order(Order::Kill).await.unwrap();
        let again = process.watch().wait_for(|status| status.pid.is_some()).await.unwrap().clone();
        assert!(again.restarts == 1 && again.pid != Some(first), "{again:?}");

        process.order(Order::Stop).await.unwrap();
        tokio::time::sleep(FIRST_BACK_OFF * 2).await;
        assert!(process.status().pid.is_none() && process.status().stopped);
        process.order(Order::Start).await.unwrap();
        assert!(process.status().pid.is_some());
    }

    #[tokio::test]
    async fn a_process_may_end_once_and_be_started_again_but_not_twice() {
        let folder = tempfile::tempdir().unwrap();
        let at_first = "test -e again || { touch again; exit 3; }";
        let once = format!("cd {}; {at_first}; exec sleep 60", folder.path().display());
        let once = Supervised::start(program(folder.path(), &once)).unwrap();
        let again = once.watch().wait_for(|status| status.restarts == 1 && status.pid.is_some()).await.unwrap().clone();
        assert_eq!(again.last_exit.as_deref(), Some("exit status: 3"));
        assert!(timeout(FIRST_BACK_OFF, once.ends_again()).await.is_err());

        let always = Supervised::start(program(folder.path(), "exit 4")).unwrap();
        assert_eq!(always.ends_again().await, "exit status: 4");
    }

    #[tokio::test]
    async fn a_process_that_ignores_sigterm_is_killed_after_the_grace() {
        let folder = tempfile::tempdir().unwrap();
        let process = Supervised::start(program(folder.path(), "trap '' TERM; echo ready; while :; do sleep 1; done"));
        let process = process.unwrap();
        while std::fs::read_to_string(folder.path().join("log")).unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
        process.order(Order::Stop).await.unwrap();
        assert!(process.status().last_exit.unwrap().contains('9'));
    }
}
