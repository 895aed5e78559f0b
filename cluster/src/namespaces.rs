//! Problems to report to the owners of Namespaces.

use std::collections::BTreeMap;

use tidegate_core::{intent::check_namespace, problem::Problem};

use super::{Objects, plan, sleepers};

impl Objects {
    /// Every Namespace with the problems in its annotations.
    pub fn namespaces(&self) -> impl Iterator<Item = (&str, Vec<Problem>)> {
        let all = self.namespaces.values().flat_map(BTreeMap::values);
        all.map(|namespace| {
            let name = namespace.metadata.name.as_str();
            let problems = check_namespace(&namespace.metadata.annotations);
            let of_objects = [plan::spared_problem(self, name), sleepers::problem(self, name)];
            (name, problems.into_iter().chain(of_objects.into_iter().flatten()).collect())
        })
    }
}
