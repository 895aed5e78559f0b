//! The commands about all workloads, beside a real `tidegate scaler` on this machine.
#![allow(missing_docs, reason = "tests say what they do in their names")]
#![allow(clippy::unwrap_used, reason = "a test")]

use std::{
    net::{SocketAddr, TcpListener, TcpStream},
    process::{Child, Command, Output, Stdio},
    thread,
};

use serde_json::Value;

const TIDEGATE: &str = env!("CARGO_BIN_EXE_tidegate");
const EXAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/task-api/simple.yaml");

/// A scaler over the example, whose proxy is not there. It ends with the test.
struct Scaler {
    process: Child,
    admin: SocketAddr,
}

impl Scaler {
    fn start() -> Self {
        let free = || TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let (grpc, admin) = (free(), free());
        let process = Command::new(TIDEGATE)
            .args(["scaler", "-f", EXAMPLE, "--proxy", "127.0.0.1:9"])
            .args(["--grpc-address", &grpc.to_string(), "--admin-address", &admin.to_string()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut scaler = Self { process, admin };
        while TcpStream::connect(admin).is_err() {
            assert_eq!(scaler.process.try_wait().unwrap(), None, "it has ended");
            thread::yield_now();
        }
        scaler
    }

    fn run(&self, command: &[&str]) -> Output {
        Command::new(TIDEGATE).args(command).args(["--admin", &format!("http://{}", self.admin)]).output().unwrap()
    }

    fn printed(&self, command: &[&str]) -> (String, Option<i32>) {
        let Output { stdout, stderr, status } = self.run(command);
        (String::from_utf8(stdout).unwrap() + &String::from_utf8(stderr).unwrap(), status.code())
    }
}

impl Drop for Scaler {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn the_commands_show_what_a_running_scaler_knows() {
    let scaler = Scaler::start();
    let (names, code) = scaler.printed(&["get", "-A", "-o", "name"]);
    assert_eq!((names.as_str(), code), ("deployment/task-api\n", Some(0)));
    let json: Value = serde_json::from_str(&scaler.printed(&["get", "deploy/task-api", "-A", "-o", "json"]).0).unwrap();
    assert_eq!(json["workloads"][0]["state"], "unknown", "{json}");
    let (missing, code) = scaler.printed(&["get", "deploy/gone", "-A"]);
    assert!(missing.contains("deployment/gone is not scaled here") && code == Some(3), "{missing}");

    let (top, code) = scaler.printed(&["top", "-A"]);
    assert!(top.starts_with("1 scaled: 1 unknown") && code == Some(0), "{top}");
    assert!(top.contains("not known: ") && !top.contains('\x1b'), "a pipe gets the whole reason and no colour: {top}");

    let namespace = json["workloads"][0]["namespace"].as_str().unwrap();
    let (history, code) = scaler.printed(&["history", "deploy/task-api", "-n", namespace]);
    assert!(history.starts_with("Nothing is remembered of deployment/task-api") && code == Some(0), "{history}");
    let (wrong, code) = scaler.printed(&["history", "gateway/web"]);
    assert!(wrong.contains("only workloads have a history") && code == Some(2), "{wrong}");

    let (problems, code) = scaler.printed(&["problems", "-A"]);
    assert!(problems.contains("SignalMissing") && problems.contains("No pod of Tidegate leads"), "{problems}");
    assert_eq!(code, Some(1), "something is wrong");
    assert_eq!(scaler.printed(&["problems", "-n", "nowhere"]).1, Some(0));
}
