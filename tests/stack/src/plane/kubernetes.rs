//! etcd, the API server, the controllers and the scheduler.

use std::time::Duration;

use anyhow::Result;
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::{Api, Client};

use crate::{
    http,
    network::{API_SERVER, SERVICES},
};

use super::Plane;

const ETCD: &str = "http://127.0.0.1:2379";
const ETCD_PEER: &str = "http://127.0.0.1:2380";

/// Starts etcd and the API server, and writes the administrator's kubeconfig.
pub(super) async fn api_server(plane: &Plane) -> Result<()> {
    plane.pki.kubeconfig(&plane.kubeconfig(), "admin")?;
    let etcd = [
        "--name=e".to_owned(),
        format!("--data-dir={}", plane.state.join("etcd").display()),
        "--unsafe-no-fsync".to_owned(),
        "--log-level=warn".to_owned(),
        format!("--listen-client-urls={ETCD}"),
        format!("--advertise-client-urls={ETCD}"),
        format!("--listen-peer-urls={ETCD_PEER}"),
        format!("--initial-advertise-peer-urls={ETCD_PEER}"),
        format!("--initial-cluster=e={ETCD_PEER}"),
    ];
    plane.start("etcd", &etcd, &[])?;
    plane
        .ready("etcd", async || {
            let (status, _) = http::get(&format!("{ETCD}/health"), Duration::from_secs(1)).await?;
            Ok((status == 200).then_some(()))
        })
        .await?;

    let pki = &plane.pki;
    let arguments = [
        format!("--etcd-servers={ETCD}"),
        // At the address and port of the Service default/kubernetes: the address is local here, so processes and pods find the
        // API server where they do in any cluster.
        format!("--bind-address={API_SERVER}"),
        "--secure-port=443".to_owned(),
        // The default reconciler would publish an address of its own as an endpoint; there is none to publish.
        "--endpoint-reconciler-type=none".to_owned(),
        "--advertise-address=192.0.2.1".to_owned(),
        format!("--service-cluster-ip-range={SERVICES}"),
        "--authorization-mode=Node,RBAC".to_owned(),
        pki.flag("tls-cert-file", "apiserver.crt"),
        pki.flag("tls-private-key-file", "apiserver.key"),
        pki.flag("client-ca-file", "cluster-ca.crt"),
        "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
        pki.flag("service-account-key-file", "tokens.pub"),
        pki.flag("service-account-signing-key-file", "tokens.key"),
        pki.flag("requestheader-client-ca-file", "front-proxy-ca.crt"),
        "--requestheader-allowed-names=front-proxy-client".to_owned(),
        "--requestheader-username-headers=X-Remote-User".to_owned(),
        "--requestheader-group-headers=X-Remote-Group".to_owned(),
        "--requestheader-extra-headers-prefix=X-Remote-Extra-".to_owned(),
        pki.flag("proxy-client-cert-file", "front-proxy.crt"),
        pki.flag("proxy-client-key-file", "front-proxy.key"),
    ];
    plane.start("kube-apiserver", &arguments, &[])
}

/// Starts the controllers and the scheduler. Returns once the first object that a controller creates exists.
pub(super) async fn controllers(plane: &Plane, client: &Client) -> Result<()> {
    let controllers = plane.state.join("controllers.kubeconfig");
    plane.pki.kubeconfig(&controllers, "controllers")?;
    let kubeconfig = |path: &std::path::Path| {
        let path = path.display();
        [
            format!("--kubeconfig={path}"),
            format!("--authentication-kubeconfig={path}"),
            format!("--authorization-kubeconfig={path}"),
            "--bind-address=127.0.0.1".to_owned(),
            "--leader-elect=false".to_owned(),
        ]
    };
    let (sync, stabilisation) = plane.settings.profile.hpa();
    let mut arguments = kubeconfig(&controllers).to_vec();
    arguments.extend([
        // The HPA controller then calls as the account to which KEDA's own RBAC grants external.metrics.k8s.io.
        "--use-service-account-credentials=true".to_owned(),
        plane.pki.flag("root-ca-file", "cluster-ca.crt"),
        plane.pki.flag("service-account-private-key-file", "tokens.key"),
        format!("--horizontal-pod-autoscaler-sync-period={sync}"),
        format!("--horizontal-pod-autoscaler-downscale-stabilization={stabilisation}"),
        "--kube-api-qps=200".to_owned(),
        "--kube-api-burst=400".to_owned(),
    ]);
    plane.start("kube-controller-manager", &arguments, &[])?;

    let scheduler = plane.state.join("scheduler.kubeconfig");
    plane.pki.kubeconfig(&scheduler, "scheduler")?;
    plane.start("kube-scheduler", &kubeconfig(&scheduler), &[])?;

    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), "default");
    plane.ready("kube-controller-manager", async || Ok(accounts.get_opt("default").await?.map(|_| ()))).await
}
