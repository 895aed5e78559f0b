//! Flags of the activator, which holds requests to workloads without replicas.

use std::net::{IpAddr, SocketAddr};

use tidegate_operator::endpoints::PortRange;

/// The activator.
#[derive(Debug, clap::Args)]
pub(crate) struct ActivatorArgs {
    /// Hold requests to workloads without replicas until a pod is ready
    #[arg(long = "activator", env = "TIDEGATE_ACTIVATOR")]
    pub(crate) enabled: bool,
    /// The address on which held requests arrive; their ports are those of --activator-ports
    #[arg(
        long = "activator-address",
        env = "TIDEGATE_ACTIVATOR_ADDRESS",
        default_value = "0.0.0.0",
        value_name = "ADDRESS"
    )]
    pub(crate) address: IpAddr,
    /// The ports on which held requests arrive, one for each port of a Service
    #[arg(
        long = "activator-ports",
        env = "TIDEGATE_ACTIVATOR_PORTS",
        default_value = "20000-20999",
        value_name = "FIRST-LAST"
    )]
    pub(crate) ports: PortRange,
    /// Where the replicas of Tidegate tell each other what they hold (HTTP)
    #[arg(
        long = "activator-peer-address",
        env = "TIDEGATE_ACTIVATOR_PEER_ADDRESS",
        default_value = "0.0.0.0:9091",
        value_name = "ADDRESS:PORT"
    )]
    pub(crate) peer_address: SocketAddr,
    /// The Service of Tidegate's own pods, in their namespace: its addresses are written into EndpointSlices [default: this pod alone]
    #[arg(long = "activator-service", env = "TIDEGATE_ACTIVATOR_SERVICE", value_name = "NAME")]
    pub(crate) service: Option<String>,
    /// Requests that are held at one time, of all workloads
    #[arg(
        long = "activator-max-held",
        env = "TIDEGATE_ACTIVATOR_MAX_HELD",
        default_value_t = 10_000,
        value_name = "REQUESTS"
    )]
    pub(crate) max_held: u32,
    /// The pod's own address, from the downward API
    #[arg(long, env = "POD_IP", hide = true)]
    pub(crate) pod_ip: Option<IpAddr>,
}
