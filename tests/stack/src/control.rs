//! The control socket, over which a test stops and starts peers.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, PoisonError},
};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::{UnixListener, UnixStream},
};

use crate::{
    plane::Processes,
    process::{Order, Status, Supervised},
};

/// A request. Request and response are one line of JSON each.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Request {
    /// `None` only asks for the status.
    pub(crate) order: Option<Order>,
    /// A peer, a pod (`pod/NAMESPACE/NAME`), or one container of it; empty for all.
    pub(crate) name: String,
}

/// Status of the named processes after the order, or an error.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Response {
    pub(crate) error: Option<String>,
    pub(crate) processes: BTreeMap<String, Status>,
}

/// Listens at `path` until the stack ends.
pub(crate) fn serve(path: &Path, processes: &Processes) -> Result<()> {
    let listener = UnixListener::bind(path).with_context(|| format!("cannot listen at {}", path.display()))?;
    let processes = Arc::clone(processes);
    tokio::spawn(async move {
        loop {
            let Ok((stream, _)) = listener.accept().await else { continue };
            let processes = Arc::clone(&processes);
            // A client that hangs up does not want the answer.
            tokio::spawn(async move { drop(converse(stream, &processes).await) });
        }
    });
    Ok(())
}

/// Sends one request to the stack at `path`.
pub(crate) async fn ask(path: &Path, request: &Request) -> Result<BTreeMap<String, Status>> {
    let stream = UnixStream::connect(path).await;
    let mut stream = stream.with_context(|| format!("no stack answers at {}", path.display()))?;
    stream.write_all(format!("{}\n", serde_json::to_string(request)?).as_bytes()).await?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).await?;
    let response: Response = serde_json::from_str(&line).context("the stack ended before it answered")?;
    match response.error {
        None => Ok(response.processes),
        Some(error) => bail!(error),
    }
}

async fn converse(stream: UnixStream, processes: &Processes) -> Result<()> {
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    stream.read_line(&mut line).await?;
    let request: Request = serde_json::from_str(&line)?;
    let response = match obey(&request, processes).await {
        Ok(processes) => Response { error: None, processes },
        Err(error) => Response { error: Some(format!("{}: {error:#}", request.name)), processes: BTreeMap::new() },
    };
    stream.write_all(format!("{}\n", serde_json::to_string(&response)?).as_bytes()).await?;
    Ok(())
}

async fn obey(request: &Request, processes: &Processes) -> Result<BTreeMap<String, Status>> {
    let named = {
        let all = processes.lock().unwrap_or_else(PoisonError::into_inner);
        select(&all, &request.name)?
    };
    if let Some(order) = request.order {
        if request.name.is_empty() {
            bail!("say what to {order:?}");
        }
        for (name, process) in &named {
            process.order(order).await.with_context(|| name.clone())?;
        }
    }
    Ok(named.into_iter().map(|(name, process)| (name, process.status())).collect())
}

/// The process of that name, or all containers of the pod of that name.
fn select(all: &BTreeMap<String, Supervised>, name: &str) -> Result<BTreeMap<String, Supervised>> {
    let containers = format!("{name}/");
    let is_meant = |known: &str| name.is_empty() || known == name || known.starts_with(&containers);
    let named: BTreeMap<_, _> = all
        .iter()
        .filter(|(known, _)| is_meant(known))
        .map(|(name, process)| (name.clone(), process.clone()))
        .collect();
    if named.is_empty() {
        bail!("no process is called that; there are {}", all.keys().cloned().collect::<Vec<_>>().join(", "));
    }
    Ok(named)
}
