//! Where traffic enters each Service: by which port, and for which of its pods.

use std::collections::BTreeMap;

use tidegate_core::ids::ServiceId;

use crate::discovery::ServiceAt;

/// The entrances of Services, by namespace and name, in the order of their shares of clusters. Neighbours that are the same stand
/// once, with their number: most Services have one entrance.
#[derive(Default)]
pub(super) struct Entrances<'a>(BTreeMap<(&'a str, &'a str), Vec<(ServiceAt<'a>, usize)>>);

impl<'a> Entrances<'a> {
    /// Adds the entrance of the Service's next share.
    pub(super) fn add(&mut self, at: ServiceAt<'a>) {
        let known = self.0.entry((at.namespace, at.name)).or_insert_with(|| Vec::with_capacity(1));
        match known.last_mut() {
            Some((last, shares)) if *last == at => *shares += 1,
            _ => known.push((at, 1)),
        }
    }

    /// The entrances of a Service, with the number of shares of each.
    pub(super) fn of<'s>(&'s self, service: &'s ServiceId) -> &'s [(ServiceAt<'s>, usize)] {
        self.0.get(&(&*service.namespace, &*service.name)).map_or(&[], Vec::as_slice)
    }

    /// The entrance of a Service, when it has only one.
    pub(super) fn only<'s>(&'s self, service: &'s ServiceId) -> Option<&'s ServiceAt<'s>> {
        let (first, rest) = self.of(service).split_first()?;
        rest.iter().all(|(at, _)| *at == first.0).then_some(&first.0)
    }
}
