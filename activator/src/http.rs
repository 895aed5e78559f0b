//! HTTP/1 and HTTP/2 connections of clients: each request is held, passed on or refused on its own.

use std::{convert::Infallible, future::pending, sync::Arc};

use http::{
    HeaderValue, Method, Request, Response, StatusCode, Version,
    header::{CONNECTION, UPGRADE, USER_AGENT},
};
use hyper::{
    body::{Body as _, Incoming},
    server::conn::{http1, http2},
    service::service_fn,
    upgrade::OnUpgrade,
};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tidegate_core::wake::{ProbeAnswer, probe};
use tokio::{io::copy_bidirectional, pin, time::Instant};
use tokio_util::{sync::CancellationToken, task::task_tracker::TaskTrackerToken};

use crate::{
    account::InHand,
    answers::Form,
    body::Body,
    client::{Client, IDLE},
    forward::{self, Connection, Unanswered},
    headers,
    kind::Kind,
    metrics::Ending,
    passage::Passage,
    queue::Pod,
    refusal::Refusal,
};

/// Bytes that one HTTP/2 stream, and all streams of one connection, may send before they are read: while a request waits, its body
/// stays with the client.
const UNREAD_OF_STREAM: u32 = 32 << 10;
const UNREAD: u32 = 1 << 20;
/// Most times that a request is sent again, after a pod closed the connection instead of answering it.
const MOST_RETRIES: u32 = 3;

/// What an answer keeps in hand until it has been sent.
#[derive(Debug)]
struct Hold {
    _pod: Pod,
    _in_hand: Option<InHand>,
    _tracked: TaskTrackerToken,
    _connection: Connection,
}

type Answer = Response<Body<Hold>>;

/// The connection of a request that asks for another protocol.
struct Upgrade {
    client: OnUpgrade,
    /// Whether it asks by its method, so that any success is a yes, and not by its headers
    is_connect: bool,
}

/// One connection of a client.
struct Visit {
    passage: Arc<Passage>,
    /// Cancelled when a request was passed on: from then on the client may reach the pods itself, by a new connection
    let_go: CancellationToken,
}

/// Serves HTTP/1 until the client leaves, or the door closes and nothing is under way.
pub(crate) async fn serve_http1(client: Client, passage: Arc<Passage>) {
    let (presence, closing) = (client.presence(), passage.closing.clone());
    let header_bytes = passage.shared.limits.header_bytes;
    let visit = Arc::new(Visit { passage, let_go: CancellationToken::new() });
    let service = service_fn(move |request| Arc::clone(&visit).answer(request));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(IDLE)
        .max_header_size(header_bytes)
        .preserve_header_case(true)
        // hyper would notice a client that leaves by reading, for which each request that waits would get a second buffer, and not
        // at all while a body is unread. `presence` notices either.
        .half_close(true)
        .serve_connection(TokioIo::new(client), service)
        .with_upgrades();
    pin!(connection);
    // The connection comes first, so that a request that has arrived is read before the connection is taken for an idle one. Its
    // error is the client's, who broke off, or sent no HTTP, which hyper has answered.
    tokio::select! {
        biased;
        _ = connection.as_mut() => return,
        () = presence.gone() => return,
        () = closing.cancelled() => connection.as_mut().graceful_shutdown(),
    }
    tokio::select! {
        _ = connection => {}
        () = presence.gone() => {}
    }
}

/// Serves HTTP/2 until the client leaves, or the door closes and nothing is under way. Once a request has been passed on, the client
/// is asked to make a new connection for the next.
pub(crate) async fn serve_http2(client: Client, passage: Arc<Passage>) {
    let (closing, draining) = (passage.closing.clone(), passage.shared.stages.draining.clone());
    let limits = passage.shared.limits;
    let let_go = CancellationToken::new();
    let visit = Arc::new(Visit { passage, let_go: let_go.clone() });
    let service = service_fn(move |request| Arc::clone(&visit).answer(request));
    let connection = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .max_header_list_size(u32::try_from(limits.header_bytes).unwrap_or(u32::MAX))
        // A client that may not open more streams would wait, without being refused.
        .max_concurrent_streams(u32::try_from(limits.per_workload).unwrap_or(u32::MAX))
        .initial_stream_window_size(UNREAD_OF_STREAM)
        .initial_connection_window_size(UNREAD)
        .serve_connection(TokioIo::new(client), service);
    pin!(connection);
    tokio::select! {
        biased;
        _ = connection.as_mut() => return,
        () = closing.cancelled() => {}
        () = draining.cancelled() => {}
        () = let_go.cancelled() => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ = connection.await;
}

impl Visit {
    /// Holds a request until a pod is there, and passes it on.
    async fn answer(self: Arc<Self>, mut request: Request<Incoming>) -> Result<Answer, Infallible> {
        let form = Form::of(&request);
        // HTTP/1 has one request after the other: what remains of a body is in the way of the next, which goes elsewhere anyhow
        // when this pod is ending.
        let is_last = !request.body().is_end_stream() || self.passage.shared.stages.draining.is_cancelled();
        let ends = request.version() < Version::HTTP_2 && is_last;
        let probe = self.probe(&request);
        if let Some(answer) = probe.filter(|_| !self.passage.has_ready()) {
            return Ok(self.refuse(form, &Refusal::Probe(answer), ends));
        }
        let in_hand = match probe {
            Some(_) => None,
            None => match self.passage.admit(Kind::Request) {
                Ok(in_hand) => Some(in_hand),
                Err(refusal) => return Ok(self.refuse(form, &refusal, ends)),
            },
        };
        let tracked = self.passage.shared.in_hand.token();
        let version = request.version();
        let upgrades = headers::of_request(version, request.headers_mut());
        let is_connect = version < Version::HTTP_2 && request.method() == Method::CONNECT;
        let upgrade =
            (upgrades || is_connect).then(|| Upgrade { client: hyper::upgrade::on(&mut request), is_connect });
        let mut ending = Ending::new(Kind::Request, &self.passage.shared.metrics);
        match self.pass_on(request.map(|body| Body::PassedOn(body, ()))).await {
            Ok((answer, pod, connection)) => {
                ending.is("passed_on");
                self.let_go.cancel();
                let hold = Hold { _pod: pod, _in_hand: in_hand, _tracked: tracked, _connection: connection };
                Ok(self.passed_on(version, answer, upgrade, hold))
            }
            Err(refusal) => {
                ending.is(refusal.outcome());
                Ok(self.refused(form, &refusal, ends))
            }
        }
    }

    /// The answer to a probe, if the request is one.
    fn probe(&self, request: &Request<Incoming>) -> Option<ProbeAnswer> {
        let user_agent = request.headers().get(USER_AGENT).and_then(|agent| agent.to_str().ok()).unwrap_or_default();
        let path = request.uri().path();
        if let Some(probe) = probe(request.method().as_str(), path, user_agent) {
            return Some(probe.answer);
        }
        let is_ignored = self.passage.door().rules.ignore.covers(path, user_agent);
        is_ignored.then_some(ProbeAnswer::Unavailable)
    }

    /// Sends a request to a pod as soon as there is one: to another if the pod closes the connection before it has got any of the
    /// request, or if nothing is lost by repeating it.
    async fn pass_on(&self, mut request: Request<Body>) -> Result<(Response<Incoming>, Pod, Connection), Refusal> {
        let (ticket, arrived) = (self.passage.ticket(), Instant::now());
        let mut retries = 0;
        loop {
            // Whoever leaves takes the request along: it is dropped here.
            let (pod, stream) = self.passage.pass(&ticket, arrived, pending()).await?;
            let copy = repeatable(&request);
            // In a box, because a request that waits needs no room for it.
            let Unanswered { request: unsent, error } = *match Box::pin(forward::send(stream, request)).await {
                Ok((answer, connection)) => return Ok((answer, pod, connection)),
                Err(unanswered) => unanswered,
            };
            tracing::debug!(pod = %pod.address(), %error, "a pod did not answer");
            match unsent.or(copy).filter(|_| retries < MOST_RETRIES) {
                Some(again) => request = again,
                None => return Err(Refusal::Failed(error.to_string())),
            }
            retries += 1;
            pod.failed();
        }
    }

    /// Hands a pod's answer to the client.
    fn passed_on(
        &self,
        version: Version,
        mut answer: Response<Incoming>,
        upgrade: Option<Upgrade>,
        hold: Hold,
    ) -> Answer {
        let (status, switches) = (answer.status(), answer.status() == StatusCode::SWITCHING_PROTOCOLS);
        let upgrade = upgrade.filter(|upgrade| switches || upgrade.is_connect && status.is_success());
        headers::of_answer(answer.headers_mut(), switches);
        if let Some(Upgrade { client, .. }) = upgrade {
            let pod = hyper::upgrade::on(&mut answer);
            self.passage.shared.tasks.spawn(splice_upgraded(client, pod, hold));
            return answer.map(|_| Body::empty());
        }
        // A client that keeps its connection would come here with all its later requests.
        if version < Version::HTTP_2 {
            answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        answer.map(|incoming| Body::PassedOn(incoming, hold))
    }

    /// Refuses a request that was not held.
    fn refuse(&self, form: Form, refusal: &Refusal, ends: bool) -> Answer {
        Ending::new(Kind::Request, &self.passage.shared.metrics).is(refusal.outcome());
        self.refused(form, refusal, ends)
    }

    fn refused(&self, form: Form, refusal: &Refusal, ends: bool) -> Answer {
        let mut answer = form.answer(refusal, &self.passage.door());
        if ends {
            answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        answer
    }
}

/// A copy of a request that may be sent twice: it has no body, and its method promises that it does no harm (RFC 9110, 9.2.2).
fn repeatable(request: &Request<Body>) -> Option<Request<Body>> {
    let is_plain = request.body().is_end_stream() && !request.headers().contains_key(UPGRADE);
    (is_plain && request.method().is_idempotent()).then(|| {
        let mut copy = Request::new(Body::empty());
        copy.method_mut().clone_from(request.method());
        copy.uri_mut().clone_from(request.uri());
        copy.headers_mut().clone_from(request.headers());
        copy.extensions_mut().clone_from(request.extensions());
        *copy.version_mut() = request.version();
        copy
    })
}

/// Passes bytes between a client and a pod that have agreed on another protocol, until both have ended.
async fn splice_upgraded(client: OnUpgrade, pod: OnUpgrade, hold: Hold) {
    if let (Ok(client), Ok(pod)) = tokio::join!(client, pod) {
        // An error means that one of them broke off, and the other learns it by the end of its connection.
        let _ = copy_bidirectional(&mut TokioIo::new(client), &mut TokioIo::new(pod)).await;
    }
    drop(hold);
}
