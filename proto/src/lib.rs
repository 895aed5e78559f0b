//! KEDA's external scaler contract: KEDA's calls and Tidegate's answers.
//!
//! Generated from `proto/externalscaler.proto`, which is KEDA 2.21's own file. This crate holds no logic besides the size of its
//! buffers.
//!
//! ```
//! use tidegate_proto::MetricSpec;
//!
//! // KEDA reads the float only when it is above zero, so both fields are always set.
//! let spec = MetricSpec { metric_name: "requests-per-second".into(), target_size: 100, target_size_float: 100.0 };
//! assert_eq!(spec.target_size as f64, spec.target_size_float);
//! ```
#![allow(
    missing_docs,
    clippy::pedantic,
    clippy::doc_lazy_continuation,
    reason = "generated code carries the documentation of the .proto file"
)]

pub mod codec;

tonic::include_proto!("externalscaler");

/// The compiled descriptors, for gRPC server reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/externalscaler.bin"));
