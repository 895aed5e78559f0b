//! A server with scripted behaviour.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

/// Reaction to a request.
#[derive(Debug, Clone)]
pub(crate) enum Behaviour {
    /// Sends this answer; the connection stays open
    Answer(Vec<u8>),
    /// Sends this answer and ends the connection
    AnswerAndClose(Vec<u8>),
    Silence,
    /// Silence to requests that contain this text, and this answer to all others
    SilenceTo(&'static str, Vec<u8>),
}

/// An `HTTP/1.1` answer with a `Content-Length`.
pub(crate) fn answer(status: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    behaviour: Arc<Mutex<Behaviour>>,
    /// The head and the body of each request, one after another
    pub(crate) requests: Arc<Mutex<Vec<String>>>,
    pub(crate) connections: Arc<Mutex<usize>>,
}

impl Server {
    pub(crate) async fn that(behaviour: Behaviour) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Self {
            address: listener.local_addr().unwrap(),
            behaviour: Arc::new(Mutex::new(behaviour)),
            requests: Arc::default(),
            connections: Arc::default(),
        };
        let (behaviour, requests) = (Arc::clone(&server.behaviour), Arc::clone(&server.requests));
        let connections = Arc::clone(&server.connections);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                *connections.lock().unwrap() += 1;
                tokio::spawn(converse(stream, Arc::clone(&behaviour), Arc::clone(&requests)));
            }
        });
        server
    }

    pub(crate) fn becomes(&self, behaviour: Behaviour) {
        *self.behaviour.lock().unwrap() = behaviour;
    }

    pub(crate) fn last_request(&self) -> String {
        self.requests.lock().unwrap().last().cloned().unwrap()
    }
}

async fn converse(mut stream: TcpStream, behaviour: Arc<Mutex<Behaviour>>, requests: Arc<Mutex<Vec<String>>>) {
    while let Some(request) = request(&mut stream).await {
        let behaviour = behaviour.lock().unwrap().clone();
        let is_ignored = matches!(&behaviour, Behaviour::SilenceTo(text, _) if request.contains(text));
        requests.lock().unwrap().push(request);
        match behaviour {
            _ if is_ignored => std::future::pending().await,
            // The client may be gone already, which is fine.
            Behaviour::Answer(bytes) | Behaviour::SilenceTo(_, bytes) => drop(stream.write_all(&bytes).await),
            Behaviour::AnswerAndClose(bytes) => {
                let _ = stream.write_all(&bytes).await;
                return;
            }
            Behaviour::Silence => std::future::pending().await,
        }
    }
}

/// Reads a request up to the end of its body; `None` when the connection ends.
async fn request(stream: &mut TcpStream) -> Option<String> {
    let mut text = String::new();
    loop {
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length =
                head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
            if body.len() >= length.unwrap_or(0) {
                return Some(text);
            }
        }
        let mut bytes = [0; 4096];
        let count = stream.read(&mut bytes).await.ok().filter(|count| *count > 0)?;
        text.push_str(&String::from_utf8_lossy(&bytes[..count]));
    }
}
