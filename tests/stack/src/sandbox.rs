//! A root folder of its own for a process, like a container's: the machine's programs and libraries, nothing of its
//! files, and whatever is bound into it.

use std::{
    env,
    fs::{self, File, OpenOptions},
    io::{Write, stdout},
    os::unix::{fs::symlink, process::CommandExt},
    path::{Path, PathBuf},
    process::Command,
    thread,
};

use anyhow::{Context, Result, bail};
use rustix::{
    mount::{MountFlags, mount_bind_recursive, mount_remount},
    process::{chdir, chroot},
};
use serde::{Deserialize, Serialize};

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

/// A root folder, and what to run in it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Sandbox {
    /// An empty folder that becomes `/`.
    pub(crate) root: PathBuf,
    /// What is bound into it.
    pub(crate) binds: Vec<Bind>,
    /// The command; without one it only keeps the namespaces open, for others to enter.
    pub(crate) run: Vec<String>,
}

/// A file or folder of the machine inside a sandbox.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Bind {
    pub(crate) from: PathBuf,
    /// An absolute path inside.
    pub(crate) to: String,
    pub(crate) read_only: bool,
}

impl Bind {
    pub(crate) fn read_only(from: impl Into<PathBuf>, to: impl Into<String>) -> Self {
        Self { from: from.into(), to: to.into(), read_only: true }
    }
}

impl Sandbox {
    /// The command that sets it up, in new `namespaces` (flags of `unshare`), and then is what `run` says. Writes what
    /// it is to do next to its root.
    pub(crate) fn command(&self, namespaces: &[&str]) -> Result<Vec<String>> {
        fs::create_dir_all(&self.root)?;
        let plan = self.root.with_extension("json");
        fs::write(&plan, serde_json::to_vec(self)?)?;
        let itself = env::current_exe()?.to_string_lossy().into_owned();
        let mut command = vec!["unshare".to_owned()];
        command.extend(namespaces.iter().map(|&flag| flag.to_owned()));
        command.extend(["--".to_owned(), itself, "sandbox".to_owned(), plan.to_string_lossy().into_owned()]);
        Ok(command)
    }

    /// Becomes the sandbox that `plan` describes. Only returns with an error.
    pub(crate) fn enter(plan: &Path) -> Result<()> {
        let sandbox: Self = serde_json::from_slice(&fs::read(plan)?)?;
        sandbox.furnish()?;
        chroot(&sandbox.root).context("cannot change the root")?;
        chdir("/")?;
        if let [program, arguments @ ..] = sandbox.run.as_slice() {
            let error = Command::new(program).args(arguments).exec();
            return Err(error).with_context(|| format!("cannot run {program}"));
        }
        writeln!(stdout(), "{READY}")?;
        loop {
            thread::park();
        }
    }

    fn furnish(&self) -> Result<()> {
        for name in SHARED {
            self.share(name)?;
        }
        fs::create_dir_all(self.root.join("etc"))?;
        for name in SHARED_ETC {
            self.share(&format!("etc/{name}"))?;
        }
        for folder in ["tmp", "run", "var"] {
            fs::create_dir_all(self.root.join(folder))?;
        }
        symlink("/run", self.root.join("var/run"))?;
        for bind in &self.binds {
            let bound = bind.mount(&self.root);
            bound.with_context(|| format!("cannot put {} at {}", bind.from.display(), bind.to))?;
        }
        Ok(())
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
        Bind { from, to: format!("/{name}"), read_only: false }.mount(&self.root)
    }
}

/// What a sandbox without a command says when others may enter.
pub(crate) const READY: &str = "ready";

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
        mount_bind_recursive(&self.from, &to)?;
        if self.read_only {
            mount_remount(&to, MountFlags::BIND | MountFlags::RDONLY, "")?;
        }
        Ok(())
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
