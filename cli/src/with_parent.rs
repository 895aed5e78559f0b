//! `tidegate with-parent`: a program that ends with the process that started it, however that ends.
//!
//! A process that is killed cannot end its children, and `kill_on_drop` ends none whose handle is never dropped. On Linux the kernel
//! does it. It has to be asked from within the child, and code between fork and exec would be unsafe: so the child is this binary,
//! which asks, and then becomes the program.

use std::{env, ffi::OsStr, io, os::unix::process::CommandExt, process};

use anyhow::{Context, Result};
use tokio::process::Command;

use crate::args::WithParentArgs;

/// A command whose process ends with this one.
pub(crate) fn command(program: impl AsRef<OsStr>) -> io::Result<Command> {
    let mut command = Command::new(env::current_exe()?);
    command.arg("with-parent").arg(process::id().to_string()).arg(program);
    Ok(command)
}

/// Becomes the program of the arguments. Returns only with an error.
pub(crate) fn run(args: &WithParentArgs) -> Result<()> {
    end_with_parent(args.parent)?;
    let [program, arguments @ ..] = &args.command[..] else { return Ok(()) };
    Err(process::Command::new(program).args(arguments).exec())
        .with_context(|| format!("cannot run {}", program.display()))
}

#[cfg(target_os = "linux")]
fn end_with_parent(parent: u32) -> Result<()> {
    use rustix::process::{Signal, getppid, set_parent_process_death_signal};

    set_parent_process_death_signal(Some(Signal::KILL))?;
    // It may have ended before: then no signal would come.
    let there = getppid().is_some_and(|pid| pid.as_raw_nonzero().get().unsigned_abs() == parent);
    there.then_some(()).context("the process that started this one has ended")
}

/// Elsewhere a process that is killed leaves its children behind.
#[cfg(not(target_os = "linux"))]
fn end_with_parent(_parent: u32) -> Result<()> {
    Ok(())
}
