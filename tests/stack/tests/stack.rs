//! Tests of complete stacks: they boot, run side by side, carry traffic, and leave nothing behind.
#![allow(missing_docs, reason = "tests say what they do in their names")]

use std::{
    fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;
use tidegate_stack::eventually;

/// A deadline that suits a machine on which everything runs at once.
const SOON: Duration = Duration::from_secs(30);
const ONLY_KUBERNETES: [&str; 2] = ["run", "--without=keda,envoy-gateway,helm"];

fn stack() -> Command {
    Command::new(env!("CARGO_BIN_EXE_stack"))
}

#[test]
fn a_command_finds_the_cluster_and_its_exit_code_is_the_stacks() -> Result<()> {
    let script = "kubectl get nodes --no-headers && exit 7";
    let output = stack().args(ONLY_KUBERNETES).args(["--", "sh", "-c", script]).output()?;
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(stdout.starts_with("fake-0   Ready"), "{stdout}{stderr}");
    assert_eq!(output.status.code(), Some(7), "{stderr}");
    let (_, logs) = stderr.trim().rsplit_once("the peers' logs are in ").context("the place of the logs")?;
    assert!(Path::new(logs).join("etcd.log").exists());
    Ok(fs::remove_dir_all(Path::new(logs).parent().context("a folder")?)?)
}

/// A stack that runs until its owner is ended, and the identity of its PID namespace.
struct Running {
    owner: Child,
    pids: String,
    /// Temporary folder of the owner, which leaves files there when it is killed.
    _folder: TempDir,
}

impl Running {
    /// Boots a stack; it is up once the script has printed its PID namespace.
    fn boot() -> Result<Self> {
        let script = "readlink /proc/self/ns/pid; exec sleep 1000";
        let folder = tempfile::tempdir()?;
        let mut command = stack();
        command.args(ONLY_KUBERNETES).args(["--", "sh", "-ec", script]).stdout(Stdio::piped());
        command.env("TMPDIR", folder.path());
        let mut owner = command.spawn()?;
        let mut pids = String::new();
        BufReader::new(owner.stdout.take().context("no output")?).read_line(&mut pids)?;
        Ok(Self { owner, pids: pids.trim().to_owned(), _folder: folder })
    }

    fn processes(&self) -> Result<usize> {
        let entries = fs::read_dir("/proc")?.filter_map(Result::ok);
        let namespaces = entries.filter_map(|entry| fs::read_link(entry.path().join("ns/pid")).ok());
        Ok(namespaces.filter(|namespace| namespace.to_string_lossy() == self.pids).count())
    }

    async fn is_gone(&mut self) -> Result<()> {
        self.owner.wait()?;
        eventually(SOON, "no process is left", async || Ok((self.processes()? == 0).then_some(()))).await
    }
}

fn kill(signal: &str, pid: &str) -> Result<()> {
    ensure!(Command::new("kill").args([signal, pid]).status()?.success(), "cannot send {signal} to {pid}");
    Ok(())
}

#[tokio::test]
async fn stacks_run_side_by_side_and_each_dies_with_its_owner() -> Result<()> {
    let (mut killed, mut ended) = (Running::boot()?, Running::boot()?);
    assert!(killed.processes()? > 5 && ended.processes()? > 5);

    kill("-KILL", &killed.owner.id().to_string())?;
    killed.is_gone().await?;
    assert!(ended.processes()? > 5, "the other stack is not touched");

    kill("-TERM", &ended.owner.id().to_string())?;
    ended.is_gone().await
}

#[tokio::test]
async fn a_stack_whose_inside_is_killed_is_gone_too() -> Result<()> {
    let mut stack = Running::boot()?;
    let unshare = fs::read_to_string(format!("/proc/{0}/task/{0}/children", stack.owner.id()))?;
    kill("-KILL", unshare.trim())?;
    stack.is_gone().await
}

/// A script that exits with 0 if everything is as it should be; if not, `set -x` shows where it stopped.
const TRAFFIC: &str = r#"
kubectl apply -f "$EXAMPLE" >/dev/null
until proxy=$(kubectl get pods -A -l app.kubernetes.io/component=proxy -o jsonpath='{.items[0].status.podIP}') && [ "$proxy" ]; do sleep 0.2; done
answer() { curl -s -o /dev/null -m 2 -w '%{http_code}' "http://$proxy:8080/" || true; }
becomes() { for _ in $(seq 300); do [ "$(answer)" = "$1" ] && return; sleep 0.1; done; exit 1; }
set -x
becomes 200
kubectl scale deployment task-api --replicas=3
kubectl wait deployment task-api --for=jsonpath='{.status.readyReplicas}'=3 --timeout=30s
[ "$(for _ in $(seq 50); do answer; echo; done | sort | uniq -c | tr -d ' ')" = 50200 ]
curl -s "http://$proxy:19001/stats/prometheus?usedonly" | grep 'upstream_rq_total.*httproute/default/task-route/rule/0'
address=$(kubectl get gateway web -o jsonpath='{.status.addresses[0].value}')
curl -fs -o /dev/null "http://$address:8080/"
curl -fs -o /dev/null "http://task-api.default.svc:8000/"
pod=$(kubectl get pods -A -l app.kubernetes.io/component=proxy -o jsonpath='pod/{.items[0].metadata.namespace}/{.items[0].metadata.name}')
stack ctl kill "$pod/envoy"
becomes 200
kubectl scale deployment task-api --replicas=0
becomes 503
# No endpoint: refused (7), not accepted and closed.
until curl -s -o /dev/null -m 2 "http://task-api.default.svc:8000/"; [ $? = 7 ]; do sleep 0.1; done
kubectl scale deployment task-api --replicas=1
becomes 200
"#;

#[test]
fn requests_reach_pods_through_a_real_envoy() -> Result<()> {
    let task_api = Path::new(env!("CARGO_BIN_EXE_stack")).with_file_name("task-api");
    ensure!(task_api.exists(), "run `cargo build -p task-api` first: pods of that image run it");
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/task-api/simple.yaml");
    let mut command = stack();
    command.args(["run", "--without=keda,helm", "--", "bash", "-euc", TRAFFIC]).env("EXAMPLE", example);
    let output = command.output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}
