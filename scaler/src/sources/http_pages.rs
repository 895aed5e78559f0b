//! Metrics pages of pods, over plain HTTP.

use std::{net::SocketAddr, time::Duration};

use super::{body_of, with_causes};

/// Timeout for connecting to a pod.
const CONNECT_WITHIN: Duration = Duration::from_secs(1);
/// Timeout for a whole page.
const ANSWER_WITHIN: Duration = Duration::from_secs(3);
/// Largest page in bytes. One of a thousand models with all their buckets has 25 MiB.
const MAX_PAGE: usize = 64 << 20;

/// A client for metrics pages.
#[derive(Debug, Clone)]
pub(super) struct Pages(Option<reqwest::Client>);

impl Pages {
    pub(super) fn new() -> Self {
        // A client cannot be created without a crypto provider, even for plain HTTP.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder()
            .connect_timeout(CONNECT_WITHIN)
            .timeout(ANSWER_WITHIN)
            .pool_max_idle_per_host(1)
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .build();
        Self(client.ok())
    }

    /// Fetches a page. An error says why there is none.
    pub(super) async fn get(&self, address: SocketAddr, path: &str) -> Result<String, String> {
        let url = url(address, path);
        let client = self.0.as_ref().ok_or("no HTTP client could be made")?;
        let answer =
            client.get(&url).send().await.map_err(|error| format!("{url}: {}", with_causes(&error.without_url())))?;
        if !answer.status().is_success() {
            return Err(format!("{url} answered {}", answer.status()));
        }
        let body = body_of(answer, MAX_PAGE).await.map_err(|error| format!("{url} {error}"))?;
        String::from_utf8(body).map_err(|_| format!("{url} answered something else than text"))
    }
}

/// The URL of a page.
pub(super) fn url(address: SocketAddr, path: &str) -> String {
    format!("http://{address}/{}", path.trim_start_matches('/'))
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    use super::*;

    /// The page from a server that answers with these bytes and closes the connection.
    async fn answered(answer: &'static [u8]) -> Result<String, String> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serving = async {
            let (mut connection, _) = listener.accept().await.unwrap();
            let _ = connection.read(&mut [0; 1024]).await.unwrap();
            connection.write_all(answer).await.unwrap();
        };
        let pages = Pages::new();
        tokio::join!(pages.get(address, "/metrics"), serving).0
    }

    #[tokio::test]
    async fn a_page_that_is_shorter_than_it_says_is_an_error() {
        let whole = answered(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nup 1\n").await;
        assert_eq!(whole, Ok("up 1\n".to_owned()));
        // The header of Envoy AI Gateway's side-car, whose names have underscores for dots.
        let escaped =
            b"HTTP/1.1 200 OK\r\ncontent-type: text/plain; version=0.0.4; charset=utf-8; escaping=underscores\r\n\
                        transfer-encoding: chunked\r\n\r\n5\r\nup 1\n\r\n0\r\n\r\n";
        assert_eq!(answered(escaped).await, whole);
        let cut: [&[u8]; 2] = [
            b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nup 1\n",
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nup 1\n\r\n",
        ];
        for cut in cut {
            assert!(answered(cut).await.is_err());
        }
    }

    #[tokio::test]
    async fn an_answer_that_is_no_text_is_an_error() {
        let error = answered(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n\xff\xfe").await.unwrap_err();
        assert!(error.ends_with("answered something else than text"), "{error}");
    }
}
