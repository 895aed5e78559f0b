//! `tidegate explain`: asks the scaler that runs in the cluster why a workload has its replicas, or a Gateway its proxies.

use anyhow::{Context, Result, anyhow};
use axum::http::Request;
use kube::{Client, Config};
use tidegate_core::workload::WorkloadRef;

use crate::{
    args::{ExplainArgs, Output},
    run::install_crypto,
};

pub(crate) async fn explain(args: ExplainArgs) -> Result<()> {
    install_crypto();
    let (kind, name) = object(&args.object)?;
    let (config, prefix) = if let Some(url) = &args.installed.admin {
        let url = url.parse().with_context(|| format!("--admin {url}: wants a URL such as http://127.0.0.1:8080"))?;
        (Config::new(url), String::new())
    } else {
        let config = Config::infer().await.context("no cluster: set KUBECONFIG, or give --admin URL")?;
        // The API server forwards to the Service: with the permission to get `services/proxy`, no port-forward is needed.
        let service =
            format!("/api/v1/namespaces/{}/services/{}:admin/proxy", args.installed.system_namespace, args.service);
        (config, service)
    };
    let namespace = args.namespace.clone().unwrap_or_else(|| config.default_namespace.clone());
    let client = Client::try_from(config)?;
    let format = if args.output == Output::Json { "json" } else { "page" };
    let path = format!("{prefix}/explain/{namespace}/{kind}/{name}?format={format}");
    let answer = client.request_text(Request::get(path).body(Vec::new())?).await.map_err(|error| match error {
        // An error from the scaler itself is shown as it is: it names the objects that the scaler knows.
        kube::Error::Api(status) if !status.message.is_empty() => anyhow!("{}", status.message.trim_end()),
        error => anyhow!(error).context(format!(
            "no answer from Service {} in namespace {} (--system-namespace and --service say where Tidegate is)",
            args.service, args.installed.system_namespace
        )),
    })?;
    print!("{answer}");
    Ok(())
}

/// Kind and name in the form that the admin server expects.
fn object(given: &str) -> Result<(String, String)> {
    if let Some(("gateway" | "gateways" | "gtw", name)) = given.split_once('/') {
        return Ok(("gateway".to_owned(), name.to_owned()));
    }
    // Custom kinds, which have a group, are known to the server alone.
    if let Some((kind, name)) = given.split_once('/').filter(|(kind, _)| kind.contains('.')) {
        return Ok((kind.to_ascii_lowercase(), name.to_owned()));
    }
    let workload: WorkloadRef = given
        .parse()
        .map_err(|_| anyhow!("{given:?}: write deployment/NAME, another KIND/NAME that is scaled, or gateway/NAME"))?;
    Ok((workload.kind.kubectl_name(), workload.name))
}
