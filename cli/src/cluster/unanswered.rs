//! Why the API server did not do what it was asked for, in one sentence that says what to do next.

use std::{error::Error, fmt, io, time::Duration};

use kube::core::Status;

use crate::exit::{Exit, Failure};

/// The server that is asked, for messages.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) url: String,
    /// `--context`
    pub(crate) context: Option<String>,
    pub(crate) timeout: Duration,
}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.url.trim_end_matches('/'))?;
        self.context.as_ref().map_or(Ok(()), |context| write!(f, " (context {context})"))
    }
}

impl Asked {
    pub(crate) fn too_late(&self) -> Failure {
        let time = humantime::format_duration(self.timeout);
        Exit::NoAnswer
            .with(format!("no answer from {self} within {time}: is it reachable? --request-timeout waits longer"))
    }

    /// The sentence for an error of the client.
    pub(crate) fn unanswered(&self, error: &kube::Error) -> Failure {
        match error {
            kube::Error::Api(status) => self.refused(status),
            kube::Error::Auth(error) => Exit::NotAllowed.with(format!(
                "no credentials for {self}: {}; log in to the cluster again",
                chain(error).last().unwrap_or_default()
            )),
            error => self.silent(error),
        }
    }

    /// The sentence for an answer that is an error.
    pub(crate) fn refused(&self, status: &Status) -> Failure {
        let message = status.message.trim();
        let message = message.lines().next().filter(|line| !line.is_empty()).unwrap_or("without a reason");
        match status.code {
            401 => Exit::NotAllowed.with(format!(
                "{self} does not accept the credentials, which may have expired (401): log in to the cluster again"
            )),
            403 => {
                Exit::NotAllowed.with(format!("{message}: ask for the permission, or use another --context or --as"))
            }
            404 => Exit::Missing.with(message),
            429 => Exit::NoAnswer.with(format!("{self} has too much to do (429): try again in a moment")),
            code @ 500.. => Exit::NoAnswer.with(format!("{self} cannot answer now ({code}): {message}")),
            _ => Exit::Wrong.with(message),
        }
    }

    /// The sentence for an error without an answer.
    fn silent(&self, error: &kube::Error) -> Failure {
        let causes: Vec<_> = causes(error).collect();
        let io = causes.iter().find_map(|cause| cause.downcast_ref::<io::Error>());
        if let Some(error) = causes.iter().find_map(|cause| of_tls(*cause)) {
            return Exit::NoAnswer.with(format!(
                "no TLS connection to {self}: {error}; look at certificate-authority and tls-server-name of the kubeconfig"
            ));
        }
        match io.map(io::Error::kind) {
            Some(io::ErrorKind::ConnectionRefused) => {
                Exit::NoAnswer.with(format!("nothing listens at {self}: is it running, and the right one?"))
            }
            Some(io::ErrorKind::TimedOut) => self.too_late(),
            _ => {
                let last = causes.last().map(ToString::to_string).unwrap_or_default();
                let unknown_host = causes.iter().any(|cause| cause.to_string().contains("dns error"));
                let what = if unknown_host { "its host name is not known: " } else { "" };
                Exit::NoAnswer.with(format!("no answer from {self}: {what}{last}"))
            }
        }
    }
}

/// The error of TLS that this one is, or that it wraps: an I/O error gives what it wraps not as its source, but that one's source.
fn of_tls<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a rustls::Error> {
    let wrapped = || of_tls(error.downcast_ref::<io::Error>()?.get_ref()?);
    error.downcast_ref().or_else(wrapped)
}

/// The error, and what caused it.
fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |cause: &&'a (dyn Error + 'static)| (*cause).source())
}

fn chain(error: &(dyn Error + 'static)) -> impl Iterator<Item = String> {
    causes(error).map(ToString::to_string)
}
