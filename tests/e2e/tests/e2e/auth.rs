//! The example `auth`, by Envoy Gateway's file provider and a real Envoy: each way in refuses whoever has nothing or the wrong thing, lets
//! the others in, and sends nothing of what it refused to the backend, so that it is no demand.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    process::Stdio,
};

use anyhow::{Context, Result, ensure};
use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::json;
use tidegate_e2e::{
    examples::example,
    file_gateway::FileGateway,
    identity::{IdentityProvider, Registered, USER},
    jwt::TokenKey,
    pki::{Issued, Pki},
    requests::{Answer, Entrance},
    scenario::until,
};
use tokio::process::{Child, Command};

/// Any address of the stack's own, at which Envoy listens, too; discovery leaves loopback alone.
const HERE: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 244, 255, 241));
/// An address of the example's allow-list that this machine has: the node's.
const OFFICE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 10));
const LOGIN: SocketAddr = SocketAddr::new(HERE, 9443);
const BACKEND: SocketAddr = SocketAddr::new(HERE, 8000);
const ENTRANCE: SocketAddr = SocketAddr::new(HERE, 8443);
const PARTNERS: SocketAddr = SocketAddr::new(HERE, 8444);
const FILES: [&str; 8] = ["app", "login", "jwt", "oidc", "basic", "api-key", "allow-list", "client-certificates"];

/// The example, running.
struct Site {
    gateway: FileGateway,
    identity: IdentityProvider,
    pki: Pki,
    partners: Pki,
    _backend: Child,
}

impl Site {
    async fn start() -> Result<Self> {
        let (pki, partners) = (Pki::new()?, Pki::new()?);
        let registered = Registered {
            id: "portal".into(),
            secret: "change-me".into(),
            redirect: "https://portal.example.com/oauth2/callback".into(),
        };
        let identity = IdentityProvider::start(LOGIN, "login.example.com", &pki, registered).await?;
        let files = FILES.map(|file| example(&format!("auth/{file}.yaml"), &[]));
        let files = files.into_iter().collect::<Result<Vec<_>>>()?.join("---\n");
        ensure!(files.contains("https://login.example.com"), "no issuer to replace");
        let files = files.replace("https://login.example.com", identity.issuer());
        let server = pki.issue(&["*.example.com"])?;
        let manifests = files + "---\n" + &made_by_hand(&server, &pki, &partners);
        let backend = Command::new("task-api")
            .args([format!("--http={BACKEND}"), "--service-time=1ms".to_owned()])
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .context("task-api")?;
        let mut gateway = FileGateway::start(&manifests, &[("orders", BACKEND), ("login", LOGIN)]).await?;
        gateway.listens(ENTRANCE).await?;
        gateway.listens(PARTNERS).await?;
        Ok(Self { gateway, identity, pki, partners, _backend: backend })
    }

    fn at(&self, host: &str) -> Result<Entrance> {
        Entrance::https(host, ENTRANCE, &self.pki.ca())
    }

    /// The end of Envoy Gateway's log is for a request that is never let in.
    async fn lets_in(&mut self, what: &str, entrance: &Entrance, headers: &[(&str, &str)]) -> Result<()> {
        let log = self.gateway.log()?;
        until(&format!("{what} is let in"), async || {
            let answer = entrance.get("/", headers).await?;
            ensure!(answer.status == 200, "{answer:?}; {log}");
            Ok(())
        })
        .await
    }

    /// The backend has had one request of this route: the good one.
    async fn reached(&self, route: &str, requests: u64) -> Result<()> {
        let reached = self.gateway.requests(&format!("httproute/default/{route}/rule/0")).await?;
        ensure!(reached == requests, "{reached} requests reached the backend of {route}, not {requests}");
        Ok(())
    }
}

/// What the page of the example says to make by hand.
fn made_by_hand(server: &Issued, pki: &Pki, partners: &Pki) -> String {
    let tls = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "auth-tls"},
        "type": "kubernetes.io/tls", "stringData": {"tls.crt": server.certificate, "tls.key": server.key}});
    let ca = |name: &str, ca: &Pki| {
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name},
        "data": {"ca.crt": ca.ca()}})
    };
    [tls, ca("login-ca", pki), ca("partners-ca", partners)].map(|object| object.to_string()).join("\n---\n")
}

async fn refuses(what: &str, status: u16, entrance: &Entrance, headers: &[(&str, &str)]) -> Result<()> {
    let answer = entrance.get("/", headers).await?;
    ensure!(answer.status == status, "{what}: {answer:?}, not {status}");
    Ok(())
}

// Each waits first until a good request is let in: only then is it certain that a bad one is not refused for want of configuration.

async fn jwt(site: &mut Site) -> Result<()> {
    let (api, issuer) = (site.at("api.example.com")?, site.identity.issuer().to_owned());
    let bearer = |key: &TokenKey, issuer: &str, audience: &str, ends_in: i64| -> Result<String> {
        Ok(format!("Bearer {}", key.token(issuer, audience, USER.0, ends_in)?))
    };
    let good = bearer(site.identity.key(), &issuer, "orders", 600)?;
    site.lets_in("a token", &api, &[("authorization", &good)]).await?;
    refuses("no token", 401, &api, &[]).await?;
    let key = site.identity.key();
    let bad = [
        ("a token of another key", 401, bearer(&TokenKey::generate()?, &issuer, "orders", 600)?),
        ("a token that has expired", 401, bearer(key, &issuer, "orders", -600)?),
        ("a token of another issuer", 401, bearer(key, "https://login.example.org", "orders", 600)?),
        ("a token for somebody else", 403, bearer(key, &issuer, "billing", 600)?),
    ];
    for (what, status, token) in bad {
        refuses(what, status, &api, &[("authorization", &token)]).await?;
    }
    site.reached("api", 1).await
}

async fn basic(site: &mut Site) -> Result<()> {
    let reports = site.at("reports.example.com")?;
    let with = |password: &str| format!("Basic {}", BASE64_STANDARD.encode(format!("alice:{password}")));
    site.lets_in("a password", &reports, &[("authorization", &with("change-me"))]).await?;
    refuses("no password", 401, &reports, &[]).await?;
    refuses("a wrong password", 401, &reports, &[("authorization", &with("guessed"))]).await?;
    site.reached("reports", 1).await
}

async fn api_key(site: &mut Site) -> Result<()> {
    let webhooks = site.at("webhooks.example.com")?;
    site.lets_in("a key", &webhooks, &[("x-api-key", "change-me")]).await?;
    refuses("no key", 401, &webhooks, &[]).await?;
    refuses("a wrong key", 401, &webhooks, &[("x-api-key", "guessed")]).await?;
    site.reached("webhooks", 1).await
}

async fn allow_list(site: &mut Site) -> Result<()> {
    let admin = site.at("admin.example.com")?;
    site.lets_in("the office", &admin.from_address(OFFICE)?, &[]).await?;
    refuses("another address", 403, &admin, &[]).await?;
    refuses("an address in a header", 403, &admin, &[("x-forwarded-for", &OFFICE.to_string())]).await?;
    site.reached("admin", 1).await
}

async fn client_certificates(site: &mut Site) -> Result<()> {
    let anyone = Entrance::https("partners.example.com", PARTNERS, &site.pki.ca())?;
    let partner = anyone.with_certificate(&site.partners.issue(&["shop-frontend"])?)?;
    site.lets_in("a partner", &partner, &[]).await?;
    let foreign = anyone.with_certificate(&site.pki.issue(&["shop-frontend"])?)?;
    for (what, client) in [("no certificate", &anyone), ("a certificate of another CA", &foreign)] {
        let answer = client.get("/", &[]).await;
        ensure!(answer.is_err(), "{what}: {answer:?}");
    }
    site.reached("partners", 1).await
}

/// What a browser keeps of a site.
#[derive(Default)]
struct Cookies(BTreeMap<String, String>);

impl Cookies {
    fn keep(&mut self, answer: &Answer) {
        let set = answer.headers.get_all("set-cookie").into_iter().filter_map(|value| value.to_str().ok());
        for (name, value) in set.filter_map(|cookie| cookie.split(';').next()?.split_once('=')) {
            self.0.insert(name.to_owned(), value.to_owned());
        }
    }

    fn header(&self) -> String {
        self.0.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("; ")
    }
}

/// A GET of the portal, by a full URL or a path.
async fn visit(portal: &Entrance, url: &str, cookies: &Cookies) -> Result<Answer> {
    let path = url.strip_prefix("https://portal.example.com").unwrap_or(url);
    portal.get(path, &[("cookie", &cookies.header())]).await
}

async fn oidc(site: &mut Site) -> Result<()> {
    let (portal, provider) =
        (site.at("portal.example.com")?, Entrance::https(&HERE.to_string(), LOGIN, &site.pki.ca())?);
    let mut cookies = Cookies::default();
    let log = site.gateway.log()?;
    // Without a session: to the login, with a challenge (PKCE).
    let login = until("the portal sends people to the login", async || {
        let answer = visit(&portal, "/orders?page=2", &Cookies::default()).await?;
        let to = answer.header("location").to_owned();
        ensure!(answer.status == 302 && to.starts_with(site.identity.issuer()), "{answer:?}; {log}");
        cookies.keep(&answer);
        Ok(to)
    })
    .await?;
    ensure!(login.contains("code_challenge=") && login.contains("client_id=portal"), "{login}");
    let page = login.strip_prefix(site.identity.issuer()).context("another site")?;
    let form = provider.get(page, &[]).await?;
    ensure!(form.status == 200 && form.body.contains("<form"), "{form:?}");
    let refused = provider.post(page, &[("user", USER.0), ("password", "guessed")]).await?;
    ensure!(refused.status == 401, "{refused:?}");
    let callback = provider.post(page, &[("user", USER.0), ("password", USER.1)]).await?;
    let callback = callback.header("location").to_owned();

    // Back with a code: of nobody, of another browser, and at last the right one.
    let (_, state) = callback.split_once("state=").context("no state")?;
    let forged = format!("/oauth2/callback?code=forged&state={state}");
    let answer = visit(&portal, &forged, &cookies).await?;
    ensure!(answer.status == 401, "a forged code: {answer:?}");
    let answer = visit(&portal, &callback, &Cookies::default()).await?;
    ensure!(answer.status == 401, "another browser: {answer:?}");
    let answer = visit(&portal, &callback, &cookies).await?;
    ensure!(answer.status == 302, "{answer:?}");
    ensure!(answer.header("location") == "https://portal.example.com:8443/orders?page=2", "{answer:?}");
    cookies.keep(&answer);

    // The session lets in; one that was tampered with does not.
    let answer = visit(&portal, "/orders?page=2", &cookies).await?;
    ensure!(answer.status == 200 && !answer.header("x-replica").is_empty(), "{answer:?}");
    for value in cookies.0.values_mut() {
        *value = value.chars().rev().collect();
    }
    let answer = visit(&portal, "/orders", &cookies).await?;
    ensure!(answer.status == 302 && answer.header("location").starts_with(site.identity.issuer()), "{answer:?}");
    site.reached("portal", 1).await
}

#[tokio::test]
async fn auth_lets_in_who_has_the_right_thing_refuses_all_others_and_only_the_former_are_demand() -> Result<()> {
    let mut site = Site::start().await?;
    jwt(&mut site).await.context("jwt.yaml")?;
    basic(&mut site).await.context("basic.yaml")?;
    api_key(&mut site).await.context("api-key.yaml")?;
    allow_list(&mut site).await.context("allow-list.yaml")?;
    client_certificates(&mut site).await.context("client-certificates.yaml")?;
    oidc(&mut site).await.context("oidc.yaml")
}
