//! The binary as a pod runs it: it listens on the given addresses and leaves on a signal.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

use std::{
    fs,
    io::{BufRead, BufReader, Lines, Read, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Child, ChildStdout, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned, crypto::ring::default_provider};

struct Replica {
    process: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Replica {
    fn start(arguments: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_task-api"));
        let mut process = command.args(arguments).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        Self { process, lines }
    }

    /// Connects to the address that it reports to listen on.
    fn connect(&mut self, what: &str) -> TcpStream {
        let line = self.lines.next().unwrap().unwrap();
        TcpStream::connect(line.strip_prefix(&format!("listening {what} ")).unwrap()).unwrap()
    }

    fn terminate(&self) {
        assert!(Command::new("kill").arg(self.process.id().to_string()).status().unwrap().success());
    }

    fn last_words(mut self) -> String {
        let line = self.lines.next().unwrap().unwrap();
        assert!(self.process.wait().unwrap().success());
        line
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        let _ = self.process.kill();
    }
}

fn send(mut connection: &TcpStream) {
    connection.write_all(b"GET /tasks HTTP/1.1\r\nhost: tasks\r\nconnection: close\r\n\r\n").unwrap();
}

fn answer(mut connection: &TcpStream) -> String {
    let mut answer = String::new();
    connection.read_to_string(&mut answer).unwrap();
    answer
}

/// Occupies the only place of a replica that has `--concurrency 1 --queue 0` with a request, and waits until others are refused.
fn occupy(replica: &mut Replica) -> TcpStream {
    let connection = replica.connect("http");
    send(&connection);
    let deadline = Instant::now() + Duration::from_secs(10);
    while Instant::now() < deadline {
        let probe = TcpStream::connect(connection.peer_addr().unwrap()).unwrap();
        send(&probe);
        probe.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let mut status = [0; 12];
        if (&probe).read_exact(&mut status).is_ok() && &status == b"HTTP/1.1 503" {
            return connection;
        }
    }
    panic!("the replica never refused a second request");
}

/// Writes a new certificate for `task-api`, and returns a client that trusts no other.
fn new_certificate(folder: &Path) -> Arc<ClientConfig> {
    let made = rcgen::generate_simple_self_signed(["task-api".to_owned()]).unwrap();
    fs::write(folder.join("tls.crt"), made.cert.pem()).unwrap();
    fs::write(folder.join("tls.key"), made.signing_key.serialize_pem()).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    Arc::new(config)
}

#[test]
fn a_new_certificate_is_served_to_the_next_connection() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let first = new_certificate(folder.path());
    let mut replica = Replica::start(&[
        "--https=127.0.0.1:0",
        &format!("--tls-cert-file={}", file("tls.crt")),
        &format!("--tls-key-file={}", file("tls.key")),
    ]);
    let connection = replica.connect("https");
    let address = connection.peer_addr().unwrap();
    let ask = |config: &Arc<ClientConfig>, connection: TcpStream| {
        let client = ClientConnection::new(Arc::clone(config), "task-api".try_into().unwrap()).unwrap();
        let mut connection = StreamOwned::new(client, connection);
        connection.write_all(b"GET /healthz HTTP/1.1\r\nhost: tasks\r\nconnection: close\r\n\r\n")?;
        let mut status = [0; 12];
        connection.read_exact(&mut status).map(|()| status)
    };
    assert_eq!(&ask(&first, connection).unwrap(), b"HTTP/1.1 200");
    let second = new_certificate(folder.path());
    assert_eq!(&ask(&second, TcpStream::connect(address).unwrap()).unwrap(), b"HTTP/1.1 200");
    ask(&first, TcpStream::connect(address).unwrap()).unwrap_err();
}

#[test]
fn sigterm_lets_the_request_in_flight_end() {
    let limits = ["--concurrency", "1", "--queue", "0", "--service-time", "2s"];
    let mut replica =
        Replica::start(&[&["--http", "127.0.0.1:0", "--linger", "0s", "--name", "pod-1"], &limits[..]].concat());
    let busy = occupy(&mut replica);
    replica.terminate();
    let answer = answer(&busy);
    assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.contains(r#""replica":"pod-1""#), "{answer}");
    assert_eq!(replica.last_words(), "drained");
}

#[test]
fn a_request_that_takes_too_long_is_cut_when_the_drain_time_is_over() {
    let limits = ["--concurrency", "1", "--queue", "0", "--service-time", "1h"];
    let mut replica =
        Replica::start(&[&["--http", "127.0.0.1:0", "--linger", "0s", "--drain", "50ms"], &limits[..]].concat());
    let busy = occupy(&mut replica);
    replica.terminate();
    assert_eq!(replica.last_words(), "cut what was still open");
    assert_eq!((&busy).read(&mut [0]).unwrap_or(0), 0, "without an answer");
}

#[test]
fn an_address_that_is_taken_is_named_in_the_error() {
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = other.local_addr().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_task-api"));
    let output = command.args(["--http", &taken.to_string()]).output().unwrap();
    assert!(!output.status.success());
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.contains(&format!("--http {taken}: cannot listen there")), "{error}");
}

#[test]
fn after_an_upgrade_the_clients_own_bytes_come_back_until_the_replica_drains() {
    let mut replica = Replica::start(&["--http=127.0.0.1:0", "--linger=0ms"]);
    let mut connection = replica.connect("http");
    connection
        .write_all(b"GET /echo HTTP/1.1\r\nhost: tasks\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n")
        .unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        connection.read_exact(&mut byte).unwrap();
        head.extend(byte);
    }
    let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
    assert!(head.starts_with("http/1.1 101") && head.contains("upgrade: websocket"), "{head}");
    connection.write_all(b"tide").unwrap();
    let mut echoed = [0; 4];
    connection.read_exact(&mut echoed).unwrap();
    assert_eq!(&echoed, b"tide");
    replica.terminate();
    assert_eq!(connection.read(&mut echoed).unwrap(), 0, "the replica closes what it drains");
}
