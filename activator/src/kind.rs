//! The kinds of traffic.

/// What is held: the unit of counting, waiting and passing on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// An HTTP request
    Request,
    /// A connection in another protocol
    Connection,
}

impl Kind {
    /// The name in metrics.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Request => "requests",
            Self::Connection => "connections",
        }
    }
}
