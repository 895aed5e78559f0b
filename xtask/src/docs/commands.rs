//! The page of the commands, as the binary itself prints it.

use std::{path::Path, process::Command};

use anyhow::{Context, Result, ensure};

pub(super) fn page(root: &Path) -> Result<String> {
    let mut cargo = Command::new("cargo");
    let printed = cargo
        .args(["run", "--quiet", "-p", "tidegate", "--", "reference"])
        .current_dir(root)
        .output()
        .context("cargo")?;
    ensure!(printed.status.success(), "tidegate reference: {}", String::from_utf8_lossy(&printed.stderr));
    Ok(String::from_utf8(printed.stdout)?)
}
