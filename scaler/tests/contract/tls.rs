//! TLS to KEDA, and certificates that change.

use std::{fs, path::Path, time::Duration};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tempfile::TempDir;
use tidegate_core::plan::Plan;
use tidegate_scaler::service::{TlsError, TlsSettings};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Identity};

use crate::support::{Client, Server, eventually, in_time, later, of_deployment};

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority() -> Authority {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// Certificate and key (PEM) for `localhost`.
fn issue(authority: &Authority) -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec!["localhost".to_owned()]).unwrap().signed_by(&key, authority).unwrap();
    (certificate.pem(), key.serialize_pem())
}

fn write(folder: &Path, (certificate, key): &(String, String)) -> TlsSettings {
    let settings =
        TlsSettings { cert_file: folder.join("tls.crt"), key_file: folder.join("tls.key"), client_ca_file: None };
    fs::write(&settings.cert_file, certificate).unwrap();
    fs::write(&settings.key_file, key).unwrap();
    settings
}

async fn connect(server: &Server, authority: &Authority, identity: Option<&(String, String)>) -> Option<Client> {
    let mut tls =
        ClientTlsConfig::new().ca_certificate(Certificate::from_pem(authority.pem())).domain_name("localhost");
    if let Some((certificate, key)) = identity {
        tls = tls.identity(Identity::from_pem(certificate, key));
    }
    let endpoint = Channel::from_shared(format!("https://{}", server.address)).unwrap().tls_config(tls).unwrap();
    let mut client = Client::new(in_time(endpoint.connect()).await.ok()?);
    // With TLS 1.3 a client learns only after the handshake that its certificate is not accepted.
    in_time(client.get_metric_spec(of_deployment("api"))).await.ok()?;
    Some(client)
}

#[tokio::test]
async fn a_client_that_trusts_the_authority_is_answered_and_no_other_is() {
    let (folder, authority) = (TempDir::new().unwrap(), authority());
    let settings = write(folder.path(), &issue(&authority));
    let server = Server::start_with(Plan::default(), Some(settings)).await;
    assert!(connect(&server, &authority, None).await.is_some());
    assert!(connect(&server, &self::authority(), None).await.is_none(), "it trusts another one");
    let plain = in_time(Client::connect(format!("http://{}", server.address))).await;
    let answered = match plain {
        Ok(mut client) => in_time(client.get_metric_spec(of_deployment("api"))).await.is_ok(),
        Err(_) => false,
    };
    assert!(!answered, "plain text");
}

#[tokio::test]
async fn with_an_authority_for_clients_only_its_clients_are_answered() {
    let (folder, authority, of_clients) = (TempDir::new().unwrap(), authority(), authority());
    let ca = folder.path().join("ca.crt");
    fs::write(&ca, of_clients.pem()).unwrap();
    let settings = TlsSettings { client_ca_file: Some(ca), ..write(folder.path(), &issue(&authority)) };
    let server = Server::start_with(Plan::default(), Some(settings)).await;
    assert!(connect(&server, &authority, Some(&issue(&of_clients))).await.is_some());
    assert!(connect(&server, &authority, Some(&issue(&authority))).await.is_none(), "issued by somebody else");
    assert!(connect(&server, &authority, None).await.is_none(), "no certificate");
}

#[tokio::test]
async fn a_new_certificate_is_taken_without_a_restart_and_open_connections_go_on() {
    let (folder, old, new) = (TempDir::new().unwrap(), authority(), authority());
    let settings = write(folder.path(), &issue(&old));
    let server = Server::start_with(Plan::default(), Some(settings)).await;
    let mut before = connect(&server, &old, None).await.unwrap();
    write(folder.path(), &issue(&new));
    let mut taken = false;
    for _ in 0..100 {
        later(Duration::from_secs(10)).await;
        taken = connect(&server, &new, None).await.is_some();
        if taken {
            break;
        }
    }
    assert!(taken, "the new certificate is served");
    assert!(connect(&server, &old, None).await.is_none(), "the old one no more");
    in_time(before.get_metric_spec(of_deployment("api"))).await.unwrap();
}

#[tokio::test]
async fn while_the_files_hold_nothing_good_the_last_good_certificate_stays_and_a_metric_says_so() {
    let (folder, authority) = (TempDir::new().unwrap(), authority());
    let good = issue(&authority);
    let settings = write(folder.path(), &good);
    let server = Server::start_with(Plan::default(), Some(settings)).await;
    assert!(connect(&server, &authority, None).await.is_some());
    let (certificate, _) = &good;
    let (_, key_of_another) = issue(&authority);
    let bad = |page: &str, bad: u8| page.contains(&format!("tidegate_scaler_tls_files_bad {bad}\n"));
    for files in [(certificate.clone(), key_of_another), (String::new(), String::new()), ("x".into(), "y".into())] {
        write(folder.path(), &files);
        later(Duration::from_secs(10)).await;
        eventually("the metric says that the files are bad", || bad(&server.metrics(), 1)).await;
        assert!(connect(&server, &authority, None).await.is_some(), "the last good one stays");
        write(folder.path(), &issue(&authority));
        later(Duration::from_secs(10)).await;
        eventually("the metric says that the files are good again", || bad(&server.metrics(), 0)).await;
    }
}

#[tokio::test]
async fn a_server_does_not_start_with_bad_files_and_names_them() {
    let (folder, authority) = (TempDir::new().unwrap(), authority());
    let (certificate, key) = issue(&authority);
    let no_certificate = (key.clone(), key.clone());
    let no_key = (certificate.clone(), certificate.clone());
    let (_, other_key) = issue(&authority);
    for (files, file, told) in [
        (no_certificate, "tls.crt", "wants certificates as PEM"),
        (no_key, "tls.key", "wants a private key as PEM"),
        ((certificate, other_key), "tls.crt", "keys may not be consistent"),
    ] {
        let settings = write(folder.path(), &files);
        let server = Server::start_with(Plan::default(), Some(settings)).await;
        let error = in_time(server.task).await.unwrap().unwrap_err().to_string();
        assert!(error.contains(file) && error.contains(told), "{error}");
    }
    let missing = TlsSettings {
        cert_file: folder.path().join("missing"),
        key_file: folder.path().join("tls.key"),
        client_ca_file: None,
    };
    let server = Server::start_with(Plan::default(), Some(missing)).await;
    let error = in_time(server.task).await.unwrap().unwrap_err();
    assert!(
        matches!(&error, tidegate_scaler::service::ServeError::Tls(TlsError::Read { path, .. }) if path.ends_with("missing")),
        "{error}"
    );
}
