//! The pod runner (comes next).

/// Images that stand for a program, without registry, tag and digest.
pub(crate) const REAL_IMAGES: &[&str] =
    &["envoyproxy/envoy", "envoyproxy/gateway", "envoyproxy/gateway-dev", "task-api", "tidegate"];
