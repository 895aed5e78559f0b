//! The part of a notice that makes no difference.

use std::{
    fmt,
    hash::{Hash, Hasher},
};

/// A detail of a notice, such as a reason that changes from one failing proxy to the next. Any two are equal, so that two notices
/// which differ only in their details are the same news, and one event for as long as it lasts.
#[derive(Debug, Clone)]
pub(crate) struct Detail<T>(pub(crate) T);

impl<T> PartialEq for Detail<T> {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl<T> Eq for Detail<T> {}

impl<T> Hash for Detail<T> {
    fn hash<H: Hasher>(&self, _: &mut H) {}
}

impl<T: fmt::Display> fmt::Display for Detail<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
