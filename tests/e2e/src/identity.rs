//! A small identity provider, over https: discovery and keys (OpenID Connect), login by a form, tokens for codes with PKCE (RFC 7636).

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::{Result, anyhow};
use base64::{
    Engine,
    prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD},
};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{
    Method, Request, Response,
    body::Incoming,
    header::{AUTHORIZATION, CONTENT_TYPE, LOCATION},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use ring::{
    digest::{SHA256, digest},
    rand::{SecureRandom, SystemRandom},
};
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::AbortHandle};
use tokio_rustls::TlsAcceptor;

use crate::{jwt::TokenKey, pki::Pki};

/// The user whom it lets in, and the password.
pub const USER: (&str, &str) = ("alice", "correct horse");

/// A client that is registered.
#[derive(Clone, Debug)]
pub struct Registered {
    pub id: String,
    pub secret: String,
    pub redirect: String,
}

/// The provider; it ends when dropped.
pub struct IdentityProvider {
    site: Arc<Site>,
    serving: AbortHandle,
}

impl Drop for IdentityProvider {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl IdentityProvider {
    /// Serves at an address, with a certificate for it and for `name`.
    pub async fn start(address: SocketAddr, name: &str, pki: &Pki, client: Registered) -> Result<Self> {
        let own = pki.issue(&[name, &address.ip().to_string()])?;
        let chain = vec![CertificateDer::from_pem_slice(own.certificate.as_bytes())?];
        let key = PrivateKeyDer::from_pem_slice(own.key.as_bytes())?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        let config = config.with_no_client_auth().with_single_cert(chain, key)?;
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let token_endpoint = format!("https://{name}:{}/token", address.port());
        let (issuer, key) = (format!("https://{address}"), TokenKey::generate()?);
        let site = Site { issuer, token_endpoint, key, client, codes: Mutex::default() };
        let (site, listener) = (Arc::new(site), TcpListener::bind(address).await?);
        let serving = tokio::spawn(serve(listener, acceptor, site.clone())).abort_handle();
        Ok(Self { site, serving })
    }

    /// The `iss` of its tokens, and where its pages are.
    pub fn issuer(&self) -> &str {
        &self.site.issuer
    }

    pub fn key(&self) -> &TokenKey {
        &self.site.key
    }
}

async fn serve(listener: TcpListener, acceptor: TlsAcceptor, site: Arc<Site>) {
    while let Ok((stream, _)) = listener.accept().await {
        let (acceptor, site) = (acceptor.clone(), site.clone());
        tokio::spawn(async move {
            // A client that does not trust it leaves here.
            let Ok(stream) = acceptor.accept(stream).await else { return };
            let answer = service_fn(|request| site.clone().answer(request));
            drop(http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await);
        });
    }
}

/// Parameters of a query or a form.
type Parameters = HashMap<String, String>;

fn parameters(text: &str) -> Parameters {
    form_urlencoded::parse(text.as_bytes()).into_owned().collect()
}

/// Its pages.
struct Site {
    issuer: String,
    /// By its name: Envoy Gateway accepts no address there.
    token_endpoint: String,
    key: TokenKey,
    client: Registered,
    /// The challenge of each code that was given and not yet turned in.
    codes: Mutex<HashMap<String, String>>,
}

impl Site {
    async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>> {
        let (head, body) = request.into_parts();
        let form = parameters(&String::from_utf8_lossy(&body.collect().await?.to_bytes()));
        let query = parameters(head.uri.query().unwrap_or_default());
        let authorization = head.headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        match (&head.method, head.uri.path()) {
            (&Method::GET, "/.well-known/openid-configuration") => json_page(&self.configuration()),
            (&Method::GET, "/jwks.json") => json_page(&self.key.key_set()),
            (&Method::GET, "/authorize") => self.login_form(&query),
            (&Method::POST, "/authorize") => self.login(&query, &form),
            (&Method::POST, "/token") => self.tokens(&form, authorization),
            _ => refused(404, "not_found"),
        }
    }

    fn configuration(&self) -> Value {
        let page = |path: &str| format!("{}{path}", self.issuer);
        json!({"issuer": self.issuer, "authorization_endpoint": page("/authorize"), "token_endpoint": self.token_endpoint,
            "jwks_uri": page("/jwks.json"), "response_types_supported": ["code"], "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["EdDSA"], "code_challenge_methods_supported": ["S256"]})
    }

    /// What is wrong with a request for a code.
    fn problem(&self, query: &Parameters) -> Option<&'static str> {
        let is = |name: &str, wanted: &str| query.get(name).is_some_and(|value| value == wanted);
        let wanted = [
            ("client_id", self.client.id.as_str()),
            ("redirect_uri", self.client.redirect.as_str()),
            ("response_type", "code"),
            ("code_challenge_method", "S256"),
        ];
        let complete = wanted.into_iter().all(|(name, value)| is(name, value));
        (!complete || !query.contains_key("code_challenge") || !query.contains_key("state"))
            .then_some("invalid_request")
    }

    fn login_form(&self, query: &Parameters) -> Result<Response<Full<Bytes>>> {
        if let Some(problem) = self.problem(query) {
            return refused(400, problem);
        }
        let form =
            "<form method=post><input name=user><input name=password type=password><button>Log in</button></form>";
        Ok(Response::builder().header(CONTENT_TYPE, "text/html").body(form.into())?)
    }

    /// Sends a user with the right password back, with a code.
    fn login(&self, query: &Parameters, form: &Parameters) -> Result<Response<Full<Bytes>>> {
        if let Some(problem) = self.problem(query) {
            return refused(400, problem);
        }
        let entered = ["user", "password"].map(|name| form.get(name).map_or("", String::as_str));
        if entered != [USER.0, USER.1] {
            return refused(401, "access_denied");
        }
        let mut code = [0; 16];
        SystemRandom::new().fill(&mut code).map_err(|_| anyhow!("no random numbers"))?;
        let code = BASE64_URL_SAFE_NO_PAD.encode(code);
        self.codes.lock().unwrap_or_else(PoisonError::into_inner).insert(code.clone(), query["code_challenge"].clone());
        let back = form_urlencoded::Serializer::new(String::new())
            .extend_pairs([("code", code.as_str()), ("state", query["state"].as_str())])
            .finish();
        let location = format!("{}?{back}", self.client.redirect);
        Ok(Response::builder().status(302).header(LOCATION, location).body(Full::default())?)
    }

    /// Gives tokens for a code, once, to the client that began.
    fn tokens(&self, form: &Parameters, authorization: Option<&str>) -> Result<Response<Full<Bytes>>> {
        let given = |name: &str| form.get(name).map_or("", String::as_str);
        let basic = BASE64_STANDARD.encode(format!("{}:{}", self.client.id, self.client.secret));
        let in_body = given("client_id") == self.client.id && given("client_secret") == self.client.secret;
        if !in_body && authorization != Some(&format!("Basic {basic}")) {
            return refused(401, "invalid_client");
        }
        let challenge = self.codes.lock().unwrap_or_else(PoisonError::into_inner).remove(given("code"));
        let proof = BASE64_URL_SAFE_NO_PAD.encode(digest(&SHA256, given("code_verifier").as_bytes()));
        if challenge != Some(proof) || given("redirect_uri") != self.client.redirect {
            return refused(400, "invalid_grant");
        }
        let token = || self.key.token(&self.issuer, &self.client.id, USER.0, 600);
        let (access, id) = (token()?, token()?);
        json_page(&json!({"access_token": access, "id_token": id, "token_type": "Bearer", "expires_in": 600}))
    }
}

fn json_page(page: &Value) -> Result<Response<Full<Bytes>>> {
    Ok(Response::builder().header(CONTENT_TYPE, "application/json").body(page.to_string().into())?)
}

fn refused(status: u16, error: &str) -> Result<Response<Full<Bytes>>> {
    let body = json!({"error": error}).to_string();
    Ok(Response::builder().status(status).header(CONTENT_TYPE, "application/json").body(body.into())?)
}
