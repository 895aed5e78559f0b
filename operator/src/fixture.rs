//! An API server and a context on it, for tests.

mod api_server;

use tokio_util::sync::CancellationToken;

pub(crate) use self::api_server::{ApiServer, Scenario};
use crate::{
    context::Context,
    lease::{Term, term},
    problems::ProblemBook,
    watch::Watches,
    writer::Writer,
};

/// A context for a part of the operator, on a server of its own that nobody watches.
pub(crate) fn context() -> (ApiServer, Term, Context) {
    let (server, (term, leadership)) = (ApiServer::default(), term());
    let watches = Watches::default();
    let writer = Writer::new(server.client(), leadership, watches.resources());
    let (stop, instance, problems) = (CancellationToken::new(), "pod".to_owned(), ProblemBook::default());
    let context = Context { watches, writer, stop, instance, problems };
    (server, term, context)
}
