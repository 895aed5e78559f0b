//! Envoy's statistics of listeners, by the names of their metrics, and which listeners are those of users.

use memchr::memchr;

use crate::sources::envoy::Field;

/// The label that names a connection manager.
pub(super) const CONNECTION_MANAGER: &[u8] = b"envoy_http_conn_manager_prefix";
/// The label that names a listener by its address.
const LISTENER: &[u8] = b"envoy_listener_address";
/// Ports of Envoy Gateway's own listeners on every proxy: statistics and readiness.
const OWN_PORTS: std::ops::RangeInclusive<u16> = 19_000..=19_003;

/// The field of a listener's metric, and the label that names the listener.
pub(super) fn listener_field(line: &[u8]) -> Option<(Field, &'static [u8])> {
    let brace = memchr(b'{', line)?;
    match &line[..brace] {
        b"envoy_http_downstream_rq_total" => Some((Field::Requests, CONNECTION_MANAGER)),
        b"envoy_http_downstream_rq_active" => Some((Field::InFlight, CONNECTION_MANAGER)),
        b"envoy_listener_downstream_cx_active" => Some((Field::Connections, LISTENER)),
        _ => None,
    }
}

/// Whether users' traffic comes in there: not through the listeners of Envoy Gateway's own. It names the connection managers of
/// its Gateways' listeners by their ports, and its own in other ways.
pub(super) fn is_of_users(label: &[u8], name: &[u8]) -> bool {
    if label == LISTENER {
        let port = name.rsplit(|byte| *byte == b'_').next().and_then(|port| std::str::from_utf8(port).ok());
        port.is_some_and(|port| !port.parse().is_ok_and(|port| OWN_PORTS.contains(&port)))
    } else {
        name.starts_with(b"http-") || name.starts_with(b"https-")
    }
}
