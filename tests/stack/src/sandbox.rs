//! A private root folder for a process, like a container's: the machine's programs and libraries, none of its other files,
//! and the files and folders that are bound into it.

use std::{
    env,
    fs::{self, File, OpenOptions},
    io::{Write, stdout},
    net::Ipv4Addr,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Stdio,
    thread,
};

use anyhow::{Context, Result, bail};
use rustix::{
    mount::{MountFlags, mount, mount_bind_recursive},
    process::{chdir, chroot},
};
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
};

use crate::network;

/// Folders of the machine that a sandbox sees, because programs and their libraries need them.
const SHARED: &[&str] = &["bin", "sbin", "lib", "lib32", "lib64", "libx32", "usr", "opt", "nix", "dev", "proc", "sys"];
/// Entries of /etc that it sees: the resolver, users, certificates and the paths of libraries.
const SHARED_ETC: &[&str] = &[
    "resolv.conf",
    "hosts",
    "nsswitch.conf",
    "passwd",
    "group",
    "ssl",
    "ca-certificates",
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "alternatives",
    "localtime",
];

/// A root folder and its contents.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Sandbox {
    /// An empty folder that becomes `/`.
    pub(crate) root: PathBuf,
    /// Files and folders that are bound into it.
    pub(crate) binds: Vec<Bind>,
}

/// A file or folder of the machine inside a sandbox.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Bind {
    pub(crate) from: PathBuf,
    /// An absolute path inside.
    pub(crate) to: String,
}

impl Bind {
    pub(crate) fn new(from: impl Into<PathBuf>, to: impl Into<String>) -> Self {
        Self { from: from.into(), to: to.into() }
    }
}

impl Sandbox {
    /// Opens the sandbox in new namespaces, with its own network at `address`.
    pub(crate) async fn open(&self, number: u32, address: Ipv4Addr) -> Result<Opened> {
        fs::create_dir_all(&self.root)?;
        let plan = self.root.with_extension("json");
        fs::write(&plan, serde_json::to_vec(self)?)?;
        let mut keeper = Command::new("unshare")
            .args(["--net", "--mount", "--"])
            .arg(env::current_exe()?)
            .arg("sandbox")
            .arg(plan)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()?;
        let output = keeper.stdout.take().context("no output")?;
        if BufReader::new(output).lines().next_line().await?.as_deref() != Some(READY) {
            let output = keeper.wait_with_output().await?;
            bail!("the sandbox: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        let pid = keeper.id().context("the sandbox ended")?;
        tokio::task::spawn_blocking(move || network::connect(pid, number, address)).await??;
        Ok(Opened { pid, _keeper: keeper })
    }

    /// Turns this process into the keeper of the sandbox that `plan` describes. Returns only with an error.
    pub(crate) fn enter(plan: &Path) -> Result<()> {
        let sandbox: Self = serde_json::from_slice(&fs::read(plan)?)?;
        sandbox.furnish()?;
        chroot(&sandbox.root).context("cannot change the root")?;
        chdir("/")?;
        writeln!(stdout(), "{READY}")?;
        loop {
            thread::park();
        }
    }

    fn furnish(&self) -> Result<()> {
        for name in SHARED {
            self.share(name)?;
        }
        // Each sandbox gets its own shared memory, because all Envoys use the same name for theirs.
        let shared_memory = self.root.join("dev/shm");
        if shared_memory.exists() {
            mount("tmpfs", &shared_memory, "tmpfs", MountFlags::empty(), None)?;
        }
        fs::create_dir_all(self.root.join("etc"))?;
        for name in SHARED_ETC {
            self.share(&format!("etc/{name}"))?;
        }
        for folder in ["tmp", "run", "var"] {
            fs::create_dir_all(self.root.join(folder))?;
        }
        symlink("/run", self.root.join("var/run"))?;
        self.hide_output()?;
        for bind in &self.binds {
            let bound = bind.mount(&self.root);
            bound.with_context(|| format!("cannot put {} at {}", bind.from.display(), bind.to))?;
        }
        Ok(())
    }

    /// Hides the output of process 1. Envoy Gateway's hooks write to it: elsewhere it is the container's own, here it is the stack's.
    fn hide_output(&self) -> Result<()> {
        let outputs = self.root.join("run/process-1");
        fs::create_dir_all(&outputs)?;
        for number in ["1", "2"] {
            File::create(outputs.join(number))?;
        }
        Ok(mount_bind_recursive(&outputs, self.root.join("proc/1/fd"))?)
    }

    /// Shares `/name` of the machine, if it exists. Links stay links, so that /bin still leads to /usr/bin.
    fn share(&self, name: &str) -> Result<()> {
        let (from, to) = (Path::new("/").join(name), self.root.join(name));
        let Ok(metadata) = from.symlink_metadata() else { return Ok(()) };
        if metadata.is_symlink() && from.is_dir() {
            return Ok(symlink(fs::read_link(&from)?, to)?);
        }
        if !from.exists() {
            return Ok(());
        }
        Bind::new(from, format!("/{name}")).mount(&self.root)
    }
}

/// Line that the keeper of a sandbox prints once other processes may enter.
const READY: &str = "ready";

/// A sandbox that other processes may enter. Dropping it kills its keeper; its namespaces live on with the processes in them.
#[derive(Debug)]
pub(crate) struct Opened {
    pid: u32,
    _keeper: Child,
}

impl Opened {
    /// Prefix that makes a command run inside.
    pub(crate) fn enter(&self) -> Vec<String> {
        let pid = self.pid.to_string();
        ["nsenter", "--target", &pid, "--net", "--mount", "--root", "--wd", "--"].map(str::to_owned).to_vec()
    }
}

impl Bind {
    fn mount(&self, root: &Path) -> Result<()> {
        let inside = inside(&self.to)?;
        let to = root.join(&inside);
        if self.from.is_dir() {
            fs::create_dir_all(&to)?;
        } else {
            if let Some(parent) = to.parent() {
                fs::create_dir_all(parent)?;
            }
            drop::<File>(OpenOptions::new().create(true).append(true).open(&to)?);
        }
        Ok(mount_bind_recursive(&self.from, &to)?)
    }
}

/// `/a/b` relative to a root. /var/run is /run there, as on most machines.
fn inside(path: &str) -> Result<PathBuf> {
    let Some(relative) = path.strip_prefix('/') else { bail!("{path} is not an absolute path") };
    if relative.split('/').any(|part| part == "..") {
        bail!("{path} leads out of the sandbox");
    }
    Ok(match relative.strip_prefix("var/run/") {
        Some(rest) => Path::new("run").join(rest),
        None => PathBuf::from(relative),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stay_inside_the_sandbox() {
        assert_eq!(inside("/etc/tls").unwrap(), Path::new("etc/tls"));
        assert_eq!(inside("/var/run/secrets/x").unwrap(), Path::new("run/secrets/x"));
        assert!(inside("/a/../../b").is_err());
        assert!(inside("certs").is_err());
    }
}
