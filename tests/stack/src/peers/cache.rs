//! The cache of built peers: one folder per name and version, created in one step, by one process at a time.

use std::{
    env,
    fs::{self, File, TryLockError},
    path::PathBuf,
    time::Instant,
};

use anyhow::{Context, Result, bail};

use super::{Peer, build, progress::seconds};

/// The folder of all peers: `$TIDEGATE_CACHE`, or `tidegate/peers` in the user's cache folder.
#[derive(Clone, Debug)]
pub struct Cache {
    root: PathBuf,
}

impl Cache {
    /// The cache that the environment names.
    pub fn from_env() -> Result<Self> {
        let set = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let root = match (set("TIDEGATE_CACHE"), set("XDG_CACHE_HOME"), set("HOME")) {
            (Some(cache), _, _) => cache,
            (None, Some(cache), _) => cache.join("tidegate/peers"),
            (None, None, Some(home)) => home.join(".cache/tidegate/peers"),
            (None, None, None) => bail!("set TIDEGATE_CACHE: there is no HOME to keep the peers in"),
        };
        Ok(Self { root: std::path::absolute(root)? })
    }

    /// Folder of `peer`, once it is built.
    pub fn folder(&self, peer: &Peer) -> PathBuf {
        self.root.join(format!("{}-{}", peer.name, peer.version))
    }

    /// Builds `peer`, after any other process that builds peers: two builds at once are slower than one after the other, and a
    /// peer that the other has built is not built again.
    pub(super) fn make(&self, peer: &Peer) -> Result<()> {
        fs::create_dir_all(&self.root).with_context(|| format!("cannot create {}", self.root.display()))?;
        let _lock = self.lock()?;
        let folder = self.folder(peer);
        if folder.exists() {
            return Ok(());
        }
        let partial = folder.with_extension("partial");
        if partial.exists() {
            fs::remove_dir_all(&partial)?;
        }
        fs::create_dir_all(&partial)?;
        build::make(peer, &partial, &self.root.join("build"))?;
        fs::rename(&partial, &folder).with_context(|| format!("cannot create {}", folder.display()))
    }

    /// Locks the cache until the result is dropped; the system releases the lock when the process ends, however it ends.
    fn lock(&self) -> Result<File> {
        let path = self.root.join("lock");
        let file = File::create(&path).with_context(|| format!("cannot create {}", path.display()))?;
        match file.try_lock() {
            Ok(()) => Ok(file),
            Err(TryLockError::WouldBlock) => {
                eprintln!("waiting for another process that builds peers …");
                let start = Instant::now();
                file.lock()?;
                eprintln!("it is done after {}", seconds(start.elapsed()));
                Ok(file)
            }
            Err(TryLockError::Error(error)) => Err(error).with_context(|| format!("cannot lock {}", path.display())),
        }
    }
}
