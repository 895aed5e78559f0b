//! The images that stand for a program.

use std::{
    collections::HashMap,
    iter,
    path::{Path, PathBuf},
};

use k8s_openapi::api::core::v1::Pod;

use super::spec::PROGRAMS;
use crate::{sandbox::Bind, settings::Settings};

/// Images that stand for a program, without registry, tag and digest.
pub(crate) const REAL_IMAGES: &[&str] = &[
    "envoyproxy/ai-gateway-controller",
    "envoyproxy/ai-gateway-extproc",
    "envoyproxy/envoy",
    "envoyproxy/gateway",
    "envoyproxy/gateway-dev",
    "envoyproxy/ratelimit",
    "ggml-org/llama.cpp",
    "kedacore/http-add-on/interceptor",
    "kedacore/http-add-on/operator",
    "kedacore/http-add-on/scaler",
    "model-server",
    "task-api",
    "tidegate",
];

/// The program of each image, where it is part of the stack.
pub(super) fn programs(settings: &Settings) -> HashMap<&'static str, PathBuf> {
    let program = |image: &'static str| {
        let path = match image {
            "envoyproxy/envoy" => settings.peers.get("envoy")?.clone(),
            "envoyproxy/gateway" | "envoyproxy/gateway-dev" => settings.peers.get("envoy-gateway")?.clone(),
            "envoyproxy/ratelimit" => settings.peers.get("ratelimit")?.clone(),
            "envoyproxy/ai-gateway-controller" => settings.peers.get("ai-gateway-controller")?.clone(),
            "envoyproxy/ai-gateway-extproc" => settings.peers.get("ai-gateway-extproc")?.clone(),
            "ggml-org/llama.cpp" => settings.peers.get("llama-server")?.clone(),
            "kedacore/http-add-on/interceptor" => settings.peers.get("http-add-on-interceptor")?.clone(),
            "kedacore/http-add-on/operator" => settings.peers.get("http-add-on-operator")?.clone(),
            "kedacore/http-add-on/scaler" => settings.peers.get("http-add-on-scaler")?.clone(),
            ours => settings.programs.join(ours),
        };
        Some((image, path))
    };
    REAL_IMAGES.iter().filter_map(|image| program(image)).collect()
}

/// A program in a pod, and the folder `NAME.files` beside it, where it has one.
pub(super) fn files(program: &Path) -> impl Iterator<Item = Bind> {
    let name = program.file_name().unwrap_or_default().to_string_lossy();
    let own = program.with_file_name(format!("{name}.files"));
    let inside = format!("{PROGRAMS}/{name}");
    let files = own.exists().then(|| Bind::new(own, format!("{inside}.files")));
    iter::once(Bind::new(program, inside)).chain(files)
}

/// The entry of [`REAL_IMAGES`] for an image, if it stands for a program.
pub(super) fn real(image: &str) -> Option<&'static str> {
    let image = image.split('@').next().unwrap_or(image);
    let repository = match image.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => repository,
        _ => image,
    };
    REAL_IMAGES
        .iter()
        .copied()
        .find(|name| repository.strip_suffix(name).is_some_and(|before| before.is_empty() || before.ends_with('/')))
}

/// Whether all containers stand for programs. kwok leaves exactly these pods alone.
pub(super) fn is_real(pod: &Pod) -> bool {
    let containers = pod.spec.as_ref().map(|spec| spec.containers.as_slice()).unwrap_or_default();
    !containers.is_empty()
        && containers.iter().all(|container| container.image.as_deref().is_some_and(|image| real(image).is_some()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registry_tag_and_digest_do_not_matter() {
        assert_eq!(real("task-api"), Some("task-api"));
        assert_eq!(real("localhost:5000/tidegate:v1"), Some("tidegate"));
        assert_eq!(real("ghcr.io/x/tidegate@sha256:00"), Some("tidegate"));
        assert_eq!(real("docker.io/envoyproxy/envoy:distroless-v1.40.0@sha256:00"), Some("envoyproxy/envoy"));
        assert_eq!(real("docker.io/envoyproxy/gateway-dev:latest"), Some("envoyproxy/gateway-dev"));
        assert_eq!(real("ghcr.io/ggml-org/llama.cpp:server"), Some("ggml-org/llama.cpp"));
        assert_eq!(real("ko://github.com/kedacore/http-add-on/scaler"), Some("kedacore/http-add-on/scaler"));
    }

    #[test]
    fn other_images_are_left_to_kwok() {
        assert_eq!(real("nginx"), None);
        assert_eq!(real("my-task-api"), None);
        assert_eq!(real("example.com/envoy"), None);
    }
}
