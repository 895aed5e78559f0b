//! The cluster as a user sees it: through `kubectl` and `helm`.

use std::process::Stdio;

use anyhow::{Context, Result, bail};
use serde_json::Value;
use tokio::{io::AsyncWriteExt, process::Command};

use crate::read::Read;

/// Runs a command and gives its stdout; an exit code other than 0 is an error that shows stderr.
pub async fn run(program: &str, args: &[&str], stdin: Option<&str>) -> Result<String> {
    run_to(&[0], program, args, stdin).await
}

/// The same with the exit codes that are no error.
pub async fn run_to(good: &[i32], program: &str, args: &[&str], stdin: Option<&str>) -> Result<String> {
    let mut child = Command::new(program)
        .args(args)
        .stdin(if stdin.is_some() { Stdio::piped() } else { Stdio::null() })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("cannot run {program}: these tests run in the stack, by `make test-e2e`"))?;
    if let (Some(text), Some(mut pipe)) = (stdin, child.stdin.take()) {
        pipe.write_all(text.as_bytes()).await?;
    }
    let output = child.wait_with_output().await?;
    if !output.status.code().is_some_and(|code| good.contains(&code)) {
        bail!("{program} {}: {}", args.join(" "), String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8(output.stdout)?)
}

pub async fn kubectl(args: &[&str]) -> Result<String> {
    run("kubectl", args, None).await
}

pub async fn apply(manifests: &str) -> Result<()> {
    // Client-side apply, as people use it: its field manager is neither Helm's nor Tidegate's.
    run("kubectl", &["apply", "-f", "-"], Some(manifests)).await.map(drop)
}

/// `kubectl get … -o json`. Objects that tests look at again and again are read without a process for each look.
pub async fn get(args: &[&str]) -> Result<Value> {
    if let Some(read) = Read::of(args) {
        return read.now().await;
    }
    let mut all = vec!["get", "-o", "json"];
    all.extend(args);
    Ok(serde_json::from_str(&kubectl(&all).await?)?)
}
