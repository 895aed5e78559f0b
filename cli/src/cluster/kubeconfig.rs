//! The configuration that the flags, the environment and the kubeconfig give, or why there is none.

use std::{error::Error, io};

use kube::{
    Config,
    config::{KubeConfigOptions, Kubeconfig, KubeconfigError},
};

use crate::{
    args::ClusterArgs,
    exit::{Exit, Failure},
};

pub(super) async fn config(args: &ClusterArgs) -> Result<Config, Failure> {
    let options = KubeConfigOptions { context: args.context.clone(), ..KubeConfigOptions::default() };
    let found = match &args.kubeconfig {
        Some(file) => match Kubeconfig::read_from(file) {
            Ok(kubeconfig) => Config::from_custom_kubeconfig(kubeconfig, &options).await,
            Err(error) => Err(error),
        },
        None => Config::from_kubeconfig(&options).await,
    };
    // In a pod there is no kubeconfig, but a service account.
    let found = found.or_else(|error| match Config::incluster() {
        Ok(config) if args.kubeconfig.is_none() && args.context.is_none() => Ok(config),
        _ => Err(error),
    });
    found.map_err(|error| Exit::NoAnswer.with(explained(&error, args)))
}

fn explained(error: &KubeconfigError, args: &ClusterArgs) -> String {
    let how = "set KUBECONFIG, or give --kubeconfig FILE";
    match error {
        KubeconfigError::FindPath => format!("no cluster: there is no kubeconfig; {how}"),
        KubeconfigError::ReadConfig(cause, path) if cause.kind() == io::ErrorKind::NotFound => {
            format!("no cluster: there is no kubeconfig {}; {how}", path.display())
        }
        KubeconfigError::CurrentContextNotSet => {
            format!("no cluster: the kubeconfig has no current context; give --context NAME{}", known(args))
        }
        KubeconfigError::LoadContext(name) => format!("the kubeconfig has no context {name}{}", known(args)),
        error => {
            let causes = std::iter::successors(error.source(), |cause: &&dyn Error| (*cause).source());
            let causes: String = causes.map(|cause| format!(": {cause}")).collect();
            // Some of these errors have their cause in their own text already.
            let text = error.to_string();
            let causes = if causes.len() > 2 && text.contains(&causes[2..]) { "" } else { &causes };
            format!("the kubeconfig cannot be used: {text}{causes}")
        }
    }
}

/// The contexts of the kubeconfig, none where it cannot be read.
pub(crate) fn contexts(args: &ClusterArgs) -> Vec<String> {
    let read = args.kubeconfig.as_ref().map_or_else(Kubeconfig::read, Kubeconfig::read_from);
    read.map(|read| read.contexts.into_iter().map(|context| context.name).collect()).unwrap_or_default()
}

fn known(args: &ClusterArgs) -> String {
    let names = contexts(args);
    if names.is_empty() { String::new() } else { format!("; it has {}", names.join(", ")) }
}
