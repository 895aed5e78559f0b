//! A Prometheus that scrapes the proxy pods, which the pod runner writes down for it.

use std::{fs, time::Duration};

use anyhow::Result;

use crate::http;

use super::Plane;

/// The file with the addresses to scrape, in the format of Prometheus' `file_sd_configs`.
pub(crate) const TARGETS: &str = "prometheus-targets.json";

/// Starts Prometheus at 127.0.0.1:9090.
pub(super) async fn boot(plane: &Plane) -> Result<()> {
    let targets = plane.state.join(TARGETS);
    let config = plane.state.join("prometheus.yaml");
    let text = format!(
        "global: {{scrape_interval: 1s, evaluation_interval: 1s}}\n\
         scrape_configs:\n\
         - job_name: envoy\n  metrics_path: /stats/prometheus\n  file_sd_configs:\n  - files: [{targets}]\n",
        targets = targets.display()
    );
    fs::write(&config, text)?;
    let arguments = [
        format!("--config.file={}", config.display()),
        format!("--storage.tsdb.path={}", plane.state.join("prometheus").display()),
        "--web.listen-address=0.0.0.0:9090".to_owned(),
        "--log.level=warn".to_owned(),
    ];
    plane.start("prometheus", &arguments, &[])?;
    plane
        .ready("prometheus", async || {
            let (status, _) = http::get("http://127.0.0.1:9090/-/ready", Duration::from_secs(1)).await?;
            Ok((status == 200).then_some(()))
        })
        .await
}
