//! The command line as a shell sees it: exit codes, what stands on stderr, and a reader that leaves.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::{
    os::unix::fs::symlink,
    process::{Command, Output, Stdio},
};

/// Runs it without a cluster.
fn tidegate(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
    command.args(args).env("KUBECONFIG", "/nowhere/config").env("HOME", "/nowhere");
    command.env_remove("KUBERNETES_SERVICE_HOST").output().unwrap()
}

#[test]
fn a_reader_that_has_seen_enough_is_no_error() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
    let mut child = command.arg("reference").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), String::from_utf8_lossy(&output.stderr).as_ref()), (Some(141), ""));
}

#[test]
fn without_a_kubeconfig_every_command_that_needs_one_says_so_in_one_line() {
    for args in [
        &["explain", "deployment/api"][..],
        &["wake", "deployment/api"],
        &["savings"],
        &["routes"],
        &["calendar", "show", "office"],
        &["check"],
        &["version", "-o", "json"],
    ] {
        let output = tidegate(args);
        let told = String::from_utf8_lossy(&output.stderr);
        let wanted =
            "tidegate: no cluster: there is no kubeconfig /nowhere/config; set KUBECONFIG, or give --kubeconfig FILE\n";
        assert_eq!((output.status.code(), told.as_ref()), (Some(5), wanted), "{args:?}");
    }
}

#[test]
fn a_wrong_command_line_has_a_code_of_its_own() {
    for args in [&["explain"][..], &["explain", "api"], &["wake", "deployment/api", "--for", "0s"], &["nonsense"]] {
        assert_eq!(tidegate(args).status.code(), Some(2), "{args:?}");
    }
}

#[test]
fn a_link_called_kubectl_tidegate_is_a_plugin() {
    let folder = tempfile::tempdir().unwrap();
    let plugin = folder.path().join("kubectl-tidegate");
    symlink(env!("CARGO_BIN_EXE_tidegate"), &plugin).unwrap();
    let output = Command::new(plugin).args(["explain", "--help"]).output().unwrap();
    let help = String::from_utf8(output.stdout).unwrap();
    assert!(help.contains("Usage: kubectl tidegate explain"), "{help}");
}
