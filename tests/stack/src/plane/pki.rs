//! Keys and certificates of the control plane, recreated for each stack.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use serde_json::json;

use crate::network::API_SERVER;

/// The names of a certificate's holder.
struct Subject {
    common_name: &'static str,
    organization: Option<&'static str>,
    names: &'static [&'static str],
}

/// The folder of all keys and certificates: `<name>.crt` and `<name>.key`.
pub(super) struct Pki {
    folder: PathBuf,
}

impl Pki {
    /// Creates four authorities (cluster, front proxy, KEDA, Kafka), and the certificates that they sign, in `folder`.
    pub(super) fn write(folder: &Path) -> Result<Self> {
        fs::create_dir_all(folder)?;
        let pki = Self { folder: folder.to_owned() };
        let client = |common_name, organization| Subject { common_name, organization, names: &[] };

        let cluster = pki.authority("cluster-ca")?;
        let api_server = Subject {
            common_name: "kube-apiserver",
            organization: None,
            names: &[
                "127.0.0.1",
                "10.96.0.1",
                "localhost",
                "kubernetes",
                "kubernetes.default",
                "kubernetes.default.svc",
                "kubernetes.default.svc.cluster.local",
            ],
        };
        pki.certificate(&cluster, "apiserver", &api_server)?;
        pki.certificate(&cluster, "admin", &client("admin", Some("system:masters")))?;
        pki.certificate(&cluster, "controllers", &client("system:kube-controller-manager", None))?;
        pki.certificate(&cluster, "scheduler", &client("system:kube-scheduler", None))?;

        let front_proxy = pki.authority("front-proxy-ca")?;
        pki.certificate(&front_proxy, "front-proxy", &client("front-proxy-client", None))?;

        let keda = pki.authority("keda-ca")?;
        // The aggregator checks the name <service>.<namespace>.svc.
        let names =
            &["127.0.0.1", "localhost", "keda-operator.keda.svc", "keda-metrics-apiserver.keda.svc"] as &'static [_];
        pki.certificate(&keda, "keda", &Subject { common_name: "keda", organization: None, names })?;

        let kafka = pki.authority("kafka-ca")?;
        let names = &["kafka.messaging.svc", "10.244.255.252"] as &'static [_];
        pki.certificate(&kafka, "kafka", &Subject { common_name: "kafka", organization: None, names })?;

        let tokens = KeyPair::generate()?;
        fs::write(pki.path("tokens.key"), tokens.serialize_pem())?;
        fs::write(pki.path("tokens.pub"), tokens.public_key_pem())?;
        Ok(pki)
    }

    /// The folder of all files.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The path of one file.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// `--flag=<path>`
    pub(super) fn flag(&self, flag: &str, name: &str) -> String {
        format!("--{flag}={}", self.path(name).display())
    }

    /// Writes a kubeconfig for the holder of the certificate `name`.
    pub(super) fn kubeconfig(&self, to: &Path, name: &str) -> Result<()> {
        let [certificate, key] = ["crt", "key"].map(|end| self.path(&format!("{name}.{end}")));
        self.kubeconfig_for(to, &json!({ "client-certificate": certificate, "client-key": key }))
    }

    /// Writes a kubeconfig for `user`, which has the form that it has in a kubeconfig: `{"token": "…"}`.
    pub(super) fn kubeconfig_for(&self, to: &Path, user: &serde_json::Value) -> Result<()> {
        let cluster =
            json!({ "server": format!("https://{API_SERVER}"), "certificate-authority": self.path("cluster-ca.crt") });
        let config = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "stack",
            "clusters": [{ "name": "stack", "cluster": cluster }],
            "users": [{ "name": "user", "user": user }],
            "contexts": [{ "name": "stack", "context": { "cluster": "stack", "user": "user" } }],
        });
        fs::write(to, config.to_string()).with_context(|| format!("cannot write {}", to.display()))
    }

    fn authority(&self, name: &str) -> Result<Issuer<'static, KeyPair>> {
        let mut params = CertificateParams::default();
        params.distinguished_name = distinguished(name, None);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate()?;
        fs::write(self.path(&format!("{name}.crt")), params.self_signed(&key)?.pem())?;
        Ok(Issuer::new(params, key))
    }

    fn certificate(&self, authority: &Issuer<'static, KeyPair>, name: &str, subject: &Subject) -> Result<()> {
        let names: Vec<_> = subject.names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names)?;
        params.distinguished_name = distinguished(subject.common_name, subject.organization);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate()?;
        fs::write(self.path(&format!("{name}.crt")), params.signed_by(&key, authority)?.pem())?;
        fs::write(self.path(&format!("{name}.key")), key.serialize_pem())?;
        Ok(())
    }
}

fn distinguished(common_name: &str, organization: Option<&str>) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    if let Some(organization) = organization {
        name.push(DnType::OrganizationName, organization);
    }
    name.push(DnType::CommonName, common_name);
    name
}
