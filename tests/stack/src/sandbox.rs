//! A root folder of its own for a process, like a container's: the machine's programs and libraries, nothing of its
//! files, and whatever is bound into it.

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

/// What a sandbox sees of the machine: what programs and their libraries need.
const SHARED: &[&str] = &["bin", "sbin", "lib", "lib32", "lib64", "libx32", "usr", "opt", "nix", "dev", "proc", "sys"];
/// What it sees of /etc: the resolver, users, certificates and where libraries are.
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

/// A root folder, and what is in it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Sandbox {
    /// An empty folder that becomes `/`.
    pub(crate) root: PathBuf,
    /// What is bound into it.
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
    /// Opens it in new namespaces, among them a network of its own at `address`.
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

    /// Becomes the process that keeps the sandbox of `plan` open. Only returns with an error.
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
        // Envoys share their memory by a name that is the same for all.
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

    /// Envoy Gateway's hooks write to the output of process 1, which is a container's own elsewhere, and the stack's here.
    fn hide_output(&self) -> Result<()> {
        let outputs = self.root.join("run/process-1");
        fs::create_dir_all(&outputs)?;
        for number in ["1", "2"] {
            File::create(outputs.join(number))?;
        }
        Ok(mount_bind_recursive(&outputs, self.root.join("proc/1/fd"))?)
    }

    /// Shows `/name` of the machine, if there is one. Links stay links, so that /bin still leads to /usr/bin.
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

/// What a sandbox without a command says when others may enter.
const READY: &str = "ready";

/// A sandbox that others may enter. Dropping it kills what keeps its namespaces; they live on with what runs in them.
#[derive(Debug)]
pub(crate) struct Opened {
    pid: u32,
    _keeper: Child,
}

impl Opened {
    /// What a command needs in front of it to run inside.
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
