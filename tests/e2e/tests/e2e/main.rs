//! End-to-end tests on the real peers: kube-apiserver, KEDA, Envoy Gateway, Envoy, Prometheus, metrics-server, Argo Rollouts.
//!
//! `make test-e2e` boots the stack and runs them in it. Each test has its own namespace, so they run side by side; tests that
//! take a peer away (`outages`) run alone, at the end.
#![allow(missing_docs, reason = "tests say what they do in their names")]

mod annotations;
mod auth;
mod check;
mod commands;
mod configuration;
mod conformance;
mod dashboards;
mod demo;
mod examples;
mod gateways;
mod hours;
mod jobs;
mod kafka;
mod lag;
mod lease;
mod limits;
mod llm;
mod migrate;
mod outages;
mod reads;
mod resources;
mod rollouts;
mod standalone;
mod task_api;
mod tokens;
mod traffic;
mod triggers;
mod zero;

/// Time limit of one HTTP request.
const SECOND: std::time::Duration = std::time::Duration::from_secs(1);
