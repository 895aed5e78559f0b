//! Measured values of three kinds: exact, a lower bound, or unknown. A value that is known to be zero is not unknown.
//!
//! An exact value may raise and lower replicas. A lower bound may raise them, and must not lower them. An unknown value does
//! neither: the last exact one is held where a number is needed.

/// A measured value, with the reason if it is not exact.
#[derive(Debug, Clone, PartialEq)]
pub enum Measured<T, Why> {
    /// All of it was measured; zero is a number like any other
    Exact(T),
    /// Not all of it was measured: it is this, or more
    AtLeast(T, Why),
    /// None of it was measured
    Unknown(Why),
}

impl<T, Why> Measured<T, Why> {
    /// Returns the value if it is exact, and otherwise the reason.
    pub fn exact(self) -> Result<T, Why> {
        match self {
            Self::Exact(value) => Ok(value),
            Self::AtLeast(_, why) | Self::Unknown(why) => Err(why),
        }
    }

    /// The exact value or the lower bound; `None` where it is unknown.
    pub fn at_least(self) -> Option<T> {
        match self {
            Self::Exact(value) | Self::AtLeast(value, _) => Some(value),
            Self::Unknown(_) => None,
        }
    }

    /// Transforms the value.
    pub fn map<U>(self, map: impl FnOnce(T) -> U) -> Measured<U, Why> {
        match self {
            Self::Exact(value) => Measured::Exact(map(value)),
            Self::AtLeast(value, why) => Measured::AtLeast(map(value), why),
            Self::Unknown(why) => Measured::Unknown(why),
        }
    }

    /// Transforms the reason.
    pub fn map_why<V>(self, map: impl FnOnce(Why) -> V) -> Measured<T, V> {
        match self {
            Self::Exact(value) => Measured::Exact(value),
            Self::AtLeast(value, why) => Measured::AtLeast(value, map(why)),
            Self::Unknown(why) => Measured::Unknown(map(why)),
        }
    }

    /// Adds two parts of one value: exact where both are. Of two reasons the first is kept.
    #[must_use]
    pub fn and(self, other: Self, add: impl FnOnce(T, T) -> T) -> Self {
        match (self, other) {
            (Self::Exact(a), Self::Exact(b)) => Self::Exact(add(a, b)),
            (Self::Exact(a), Self::AtLeast(b, why)) | (Self::AtLeast(a, why), Self::Exact(b) | Self::AtLeast(b, _)) => {
                Self::AtLeast(add(a, b), why)
            }
            (Self::Exact(value) | Self::AtLeast(value, _), Self::Unknown(why))
            | (Self::Unknown(why), Self::Exact(value) | Self::AtLeast(value, _)) => Self::AtLeast(value, why),
            (Self::Unknown(why), Self::Unknown(_)) => Self::Unknown(why),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn measured() -> impl Strategy<Value = Measured<u32, &'static str>> {
        prop_oneof![
            (0u32..100).prop_map(Measured::Exact),
            (0u32..100).prop_map(|value| Measured::AtLeast(value, "part")),
            Just(Measured::Unknown("none")),
        ]
    }

    #[test]
    fn zero_and_unknown_is_at_least_zero_and_not_zero() {
        let sum = Measured::Exact(0).and(Measured::Unknown("silent"), |a: u32, b| a + b);
        assert_eq!(sum, Measured::AtLeast(0, "silent"));
        assert_eq!(sum.exact(), Err("silent"));
    }

    proptest! {
        #[test]
        fn a_sum_is_exact_only_where_all_its_parts_are(parts in proptest::collection::vec(measured(), 1..6)) {
            let sum = parts.iter().cloned().reduce(|sum, part| sum.and(part, |a, b| a + b)).unwrap();
            let known: u32 = parts.iter().cloned().filter_map(Measured::at_least).sum();
            let all = parts.iter().all(|part| matches!(part, Measured::Exact(_)));
            let any = parts.iter().any(|part| !matches!(part, Measured::Unknown(_)));
            prop_assert_eq!(sum.clone().exact().ok(), all.then_some(known));
            prop_assert_eq!(sum.at_least(), any.then_some(known));
        }
    }
}
