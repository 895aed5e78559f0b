//! Requests through a Gateway's proxies, for tests that look at statuses, headers and certificates.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result, ensure};
use futures::future::try_join_all;
use reqwest::{
    Certificate, Client, Identity, RequestBuilder,
    header::{CONTENT_TYPE, HOST, HeaderMap},
    redirect::Policy,
    tls::TlsInfo,
};

use crate::{pki::Issued, scenario::until};

/// Time limit of one request, on a machine where everything runs at once.
const WITHIN: Duration = Duration::from_secs(20);
/// Time in which a test sends all requests of one window.
const A_MOMENT: u64 = 15;

/// A proxy's listener, asked under a host name.
#[derive(Clone, Debug)]
pub struct Entrance {
    client: Client,
    host: String,
    to: SocketAddr,
    /// The certificate of the only authority that is trusted; without one, requests go in clear
    authority: Option<Certificate>,
    own: Own,
}

/// What a client shows of itself.
#[derive(Clone, Debug, Default)]
struct Own {
    /// One of this machine's addresses; any when absent
    address: Option<IpAddr>,
    certificate: Option<Identity>,
}

/// An answer, whole.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: String,
    /// The certificate of the listener (DER)
    pub certificate: Option<Vec<u8>>,
}

impl Answer {
    /// A header's value; empty if it is not there.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

/// How many answers had each status.
pub type Statuses = BTreeMap<u16, usize>;

impl Entrance {
    /// A listener of plain HTTP.
    pub fn http(host: &str, to: SocketAddr) -> Result<Self> {
        Self::new(host, to, None, Own::default())
    }

    /// A listener of TLS, whose certificate this authority must have issued.
    pub fn https(host: &str, to: SocketAddr, authority: &str) -> Result<Self> {
        Self::new(host, to, Some(Certificate::from_pem(authority.as_bytes())?), Own::default())
    }

    /// The same for a client with this address.
    pub fn from_address(&self, address: IpAddr) -> Result<Self> {
        let own = Own { address: Some(address), ..self.own.clone() };
        Self::new(&self.host, self.to, self.authority.clone(), own)
    }

    /// The same for a client with this certificate.
    pub fn with_certificate(&self, own: &Issued) -> Result<Self> {
        let certificate = Identity::from_pem((own.certificate.clone() + &own.key).as_bytes())?;
        let own = Own { certificate: Some(certificate), ..self.own.clone() };
        Self::new(&self.host, self.to, self.authority.clone(), own)
    }

    fn new(host: &str, to: SocketAddr, authority: Option<Certificate>, own: Own) -> Result<Self> {
        // reqwest panics without a crypto provider. An error means that the process has one already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder().resolve(host, to).redirect(Policy::none()).no_proxy().timeout(WITHIN);
        let client = client.tls_info(true).tls_certs_only(authority.iter().cloned()).local_address(own.address);
        let client = own.certificate.iter().fold(client, |client, own| client.identity(own.clone())).build()?;
        Ok(Self { client, host: host.to_owned(), to, authority, own })
    }

    /// The same without its open connections: each keeps the certificate that it began with.
    pub fn anew(&self) -> Result<Self> {
        Self::new(&self.host, self.to, self.authority.clone(), self.own.clone())
    }

    pub async fn get(&self, path: &str, headers: &[(&str, &str)]) -> Result<Answer> {
        self.send(self.client.get(self.url(path)), headers).await
    }

    /// Sends a form, as a browser does.
    pub async fn post(&self, path: &str, form: &[(&str, &str)]) -> Result<Answer> {
        let form = form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        self.send(self.client.post(self.url(path)).body(form), &[]).await
    }

    /// Calls a method of gRPC with an empty message; the status is in the headers only where there is no answer.
    pub async fn grpc(&self, method: &str, headers: &[(&str, &str)]) -> Result<Answer> {
        let call = self.client.post(self.url(method)).header(CONTENT_TYPE, "application/grpc").header("te", "trailers");
        self.send(call.body(vec![0; 5]), headers).await
    }

    /// Sends this many requests at once.
    pub async fn burst(&self, count: usize, path: &str, headers: &[(&str, &str)]) -> Result<Vec<Answer>> {
        try_join_all((0..count).map(|_| self.get(path, headers))).await
    }

    fn url(&self, path: &str) -> String {
        let scheme = if self.authority.is_some() { "https" } else { "http" };
        format!("{scheme}://{}:{}{path}", self.host, self.to.port())
    }

    async fn send(&self, request: RequestBuilder, headers: &[(&str, &str)]) -> Result<Answer> {
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        // Without the port of the listener's container, which no client knows.
        let answer = request.header(HOST, &self.host).send().await.with_context(|| format!("asking {}", self.to))?;
        let certificate = answer.extensions().get::<TlsInfo>().and_then(TlsInfo::peer_certificate).map(<[u8]>::to_vec);
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        let body = String::from_utf8_lossy(&answer.bytes().await?).into_owned();
        Ok(Answer { status, headers, body, certificate })
    }
}

/// Counts answers by their status.
pub fn statuses<'a>(answers: impl IntoIterator<Item = &'a Answer>) -> Statuses {
    answers.into_iter().fold(Statuses::new(), |mut counts, answer| {
        *counts.entry(answer.status).or_default() += 1;
        counts
    })
}

/// Waits until the window of a global limit has a moment left: the service counts by the clock, so that the next window may begin
/// between two requests.
pub async fn early_in_the_window(seconds: u64) -> Result<()> {
    until("the window has a moment left", async || {
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
        let left = seconds - now % seconds;
        ensure!(left > A_MOMENT, "it ends in {left} s");
        Ok(())
    })
    .await
}
