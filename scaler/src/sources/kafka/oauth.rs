//! Tokens for SASL OAUTHBEARER, by OAuth's client credentials grant (RFC 6749, section 4.4).
//!
//! librdkafka can ask for tokens itself, but only when it is built with libcurl.

use std::{
    path::PathBuf,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rdkafka::client::OAuthToken;
use reqwest::{Certificate, Client};
use serde::Deserialize;
use tidegate_kafka_admin::TokenSource;
use tokio::runtime::Handle;

use super::files::read;
use crate::sources::{body_of, with_causes};

/// The token endpoint, and the credentials of the client.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct OauthSettings {
    /// The URL of the token endpoint
    pub token_endpoint: String,
    /// The client's id
    pub client_id: String,
    /// A file with the client's secret
    pub client_secret_file: PathBuf,
    /// The scope to ask for, if the endpoint wants one
    pub scope: Option<String>,
    /// The CA of the endpoint's certificate (PEM); the system's when absent
    pub ca_file: Option<PathBuf>,
}

/// Timeout of a request, and the largest answer in bytes.
const WITHIN: Duration = Duration::from_secs(10);
const MOST: usize = 1 << 20;
/// Lifetime in seconds of a token that comes without one: RFC 6749 lets an endpoint leave it out.
const LIFETIME: u64 = 300;

/// The endpoint's answer: RFC 6749, sections 5.1 and 5.2.
#[derive(Deserialize)]
struct Answer {
    access_token: Option<String>,
    expires_in: Option<u64>,
    error: Option<String>,
    error_description: Option<String>,
}

impl OauthSettings {
    /// The source of tokens for a connection. It has to be called on a thread outside the runtime in which this function is
    /// called.
    pub(super) fn tokens(self) -> TokenSource {
        let runtime = Handle::current();
        Box::new(move || self.token(&runtime))
    }

    /// Requests a token, with the secret and the CA that the files have now. Blocks, so it must not run on a thread of the
    /// runtime.
    fn token(&self, runtime: &Handle) -> Result<OAuthToken, String> {
        runtime.block_on(self.ask()).map_err(|error| format!("sasl.tokenEndpoint {}: {error}", self.token_endpoint))
    }

    async fn ask(&self) -> Result<OAuthToken, String> {
        // reqwest panics without a crypto provider. An error means that the process has one already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut builder = Client::builder().timeout(WITHIN);
        if let Some(file) = &self.ca_file {
            let pem = read("sasl.caFile", file)?;
            builder = builder
                .tls_certs_only(Certificate::from_pem_bundle(pem.as_bytes()).map_err(|error| with_causes(&error))?);
        }
        let secret = read("sasl.clientSecretFile", &self.client_secret_file)?;
        let form = |key: &str, value: &str| format!("{key}={}", url_encoded(value));
        let mut body = form("grant_type", "client_credentials");
        if let Some(scope) = &self.scope {
            body = format!("{body}&{}", form("scope", scope));
        }
        let request = builder.build().map_err(|error| with_causes(&error))?.post(&self.token_endpoint);
        let request = request
            .basic_auth(url_encoded(&self.client_id), Some(url_encoded(&secret)))
            .header("content-type", "application/x-www-form-urlencoded")
            .body(body);
        let answer = request.send().await.map_err(|error| with_causes(&error))?;
        let status = answer.status();
        let body = body_of(answer, MOST).await?;
        let parsed = serde_json::from_slice(&body);
        self.read(
            parsed.map_err(|error| format!("answered {status}, and no JSON of RFC 6749: {error}"))?,
            status.as_u16(),
        )
    }

    fn read(&self, answer: Answer, status: u16) -> Result<OAuthToken, String> {
        let Some(token) = answer.access_token else {
            let error = answer.error.unwrap_or_else(|| "no access_token".to_owned());
            let description = answer.error_description.map(|text| format!(" ({text})")).unwrap_or_default();
            return Err(format!("answered {status}: {error}{description}; client {}", self.client_id));
        };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let end = now + Duration::from_secs(answer.expires_in.unwrap_or(LIFETIME));
        let lifetime_ms = i64::try_from(end.as_millis()).unwrap_or(i64::MAX);
        Ok(OAuthToken { token, principal_name: self.client_id.clone(), lifetime_ms })
    }
}

/// URL-encodes a text, as in RFC 6749, appendix B: names, secrets and scopes may have any character.
fn url_encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
        task::spawn_blocking,
    };

    use super::*;

    /// Answers one request, and returns the token and the request.
    async fn asked(status: &str, body: &str) -> (Result<OAuthToken, String>, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let secret = folder.path().join("secret");
        std::fs::write(&secret, "s&cret\n").unwrap();
        let settings = OauthSettings {
            token_endpoint: format!("http://{}/token", listener.local_addr().unwrap()),
            client_id: "tide gate".into(),
            client_secret_file: secret,
            scope: Some("kafka read".into()),
            ca_file: None,
        };
        let runtime = Handle::current();
        let token = spawn_blocking(move || settings.token(&runtime));
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = String::new();
        while !request.contains("scope=") {
            let mut buffer = [0; 4096];
            let read = stream.read(&mut buffer).await.unwrap();
            request.push_str(std::str::from_utf8(&buffer[..read]).unwrap());
        }
        let answer = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        stream.write_all(answer.as_bytes()).await.unwrap();
        (token.await.unwrap(), request)
    }

    #[tokio::test]
    async fn a_token_is_asked_for_with_the_clients_own_credentials() {
        let (token, request) = asked("200 OK", r#"{"access_token":"abc","token_type":"Bearer","expires_in":60}"#).await;
        let token = token.unwrap();
        assert_eq!((token.token.as_str(), token.principal_name.as_str()), ("abc", "tide gate"));
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
        assert!((1..=60_000).contains(&(i128::from(token.lifetime_ms) - now.cast_signed())));
        assert!(request.contains("grant_type=client_credentials&scope=kafka%20read"), "{request}");
        // base64 of tide%20gate:s%26cret
        assert!(request.contains("Basic dGlkZSUyMGdhdGU6cyUyNmNyZXQ="), "{request}");
    }

    #[tokio::test]
    async fn a_refusal_says_why() {
        let refused = asked("401 Unauthorized", r#"{"error":"invalid_client","error_description":"unknown"}"#).await.0;
        let error = refused.map(drop).unwrap_err();
        assert!(error.contains("/token: answered 401: invalid_client (unknown); client tide gate"), "{error}");
        let nonsense = asked("502 Bad Gateway", "<html>").await.0.map(drop).unwrap_err();
        assert!(nonsense.contains("answered 502 Bad Gateway, and no JSON"), "{nonsense}");
    }
}
