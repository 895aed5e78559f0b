//! Whether the API server's HPAs take a tolerance of their own.

use kube::Client;

/// Beta, and on, since Kubernetes 1.35 (feature `HPAConfigurableTolerance`). Before, the field is silently dropped, and
/// KEDA would write the HPA again at every look.
const SINCE: (u32, u32) = (1, 35);

/// Asks the API server for its version.
pub async fn takes_tolerance(client: &Client) -> Result<bool, kube::Error> {
    let version = client.apiserver_version().await?;
    // Some distributions write a minor version as "35+".
    let number = |text: &str| text.trim_end_matches(|c: char| !c.is_ascii_digit()).parse().unwrap_or(0);
    Ok((number(&version.major), number(&version.minor)) >= SINCE)
}
