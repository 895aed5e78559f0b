//! The objects in the namespaces of some workloads: looking through those of all namespaces would take as long as a Plan.

use std::collections::HashSet;

use tidegate_core::ids::ServiceId;

use super::Workloads;
use crate::{table::Table, views::Service};

impl Workloads<'_> {
    /// The Services with a selector, and with pods of their own, in the namespaces of these workloads.
    pub(super) fn services_beside(&self, workloads: &HashSet<usize>) -> impl Iterator<Item = (ServiceId, &Service)> {
        let services = self.beside(workloads, &self.objects.services);
        services.filter(|(_, service)| !service.spec.selector.is_empty() && !service.is_external_name())
    }

    /// The objects of a table in the namespaces of these workloads.
    pub(super) fn beside<'t, T>(
        &self,
        workloads: &HashSet<usize>,
        table: &'t Table<T>,
    ) -> impl Iterator<Item = (ServiceId, &'t T)> + use<'t, T> {
        let namespaces: HashSet<_> = workloads.iter().filter_map(|i| Some(self.all.get(*i)?.namespace)).collect();
        let tables: Vec<_> = namespaces.into_iter().filter_map(|namespace| table.get_key_value(namespace)).collect();
        tables.into_iter().flat_map(|(namespace, names)| {
            names.iter().map(|(name, object)| (ServiceId { namespace: namespace.clone(), name: name.clone() }, object))
        })
    }
}
