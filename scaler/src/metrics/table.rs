//! Registration of metrics as the table in `core` defines them.

use prometheus_client::registry::{self, Registry, Unit};
use tidegate_core::metric::Metric;

/// Registers a metric under the name, unit and help of the table.
pub(crate) fn register(registry: &mut Registry, metric: Metric, measured: impl registry::Metric) {
    match unit(metric) {
        Some(unit) => registry.register_with_unit(metric.stem(), metric.help(), unit, measured),
        None => registry.register(metric.stem(), metric.help(), measured),
    }
}

/// The unit of a metric, as the encoder wants it.
pub(crate) fn unit(metric: Metric) -> Option<Unit> {
    (!metric.unit().is_empty()).then(|| Unit::Other(metric.unit().to_owned()))
}
