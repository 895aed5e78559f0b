//! What `tidegate with-parent` starts ends with its parent.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

use std::{
    fs,
    io::{BufRead, BufReader},
    process::{Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

/// Whether a process runs: one that has ended may still wait for somebody to ask how.
fn runs(pid: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, state)| !state.starts_with(['Z', 'X']))
}

#[test]
fn a_program_ends_when_its_parent_is_killed() {
    let script = format!("{} with-parent $$ sleep 1000 & echo $!; wait", env!("CARGO_BIN_EXE_tidegate"));
    let mut parent = Command::new("sh").args(["-c", &script]).stdout(Stdio::piped()).spawn().unwrap();
    let child = BufReader::new(parent.stdout.take().unwrap()).lines().next().unwrap().unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    let becomes = || fs::read_to_string(format!("/proc/{child}/comm")).is_ok_and(|name| name.trim() == "sleep");
    while !becomes() {
        assert!(runs(&child) && Instant::now() < deadline, "it did not become the program");
        sleep(Duration::from_millis(10));
    }
    parent.kill().unwrap();
    parent.wait().unwrap();
    while runs(&child) {
        assert!(Instant::now() < deadline, "it is still there");
        sleep(Duration::from_millis(10));
    }
}

#[test]
fn nothing_is_started_for_a_parent_that_has_ended_before() {
    let output =
        Command::new(env!("CARGO_BIN_EXE_tidegate")).args(["with-parent", "1", "echo", "started"]).output().unwrap();
    assert_eq!((output.status.code(), output.stdout), (Some(1), Vec::new()));
}
