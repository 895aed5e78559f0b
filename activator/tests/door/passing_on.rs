//! What a request and its answer keep on their way: everything.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, Version};
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::{Body, Frame};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::mpsc,
    time::timeout,
};

use crate::{
    clients::{asked, collected, http2, read_all, read_until, sent},
    site::{DEADLINE, Pod, PodBody, Site, text},
};

/// A body whose frames are sent one by one.
struct Frames(mpsc::UnboundedReceiver<Frame<Bytes>>);

impl Body for Frames {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        self.0.poll_recv(cx).map(|frame| frame.map(Ok))
    }
}

fn channel() -> (mpsc::UnboundedSender<Frame<Bytes>>, Frames) {
    let (sender, frames) = mpsc::unbounded_channel();
    (sender, Frames(frames))
}

async fn site_with(pod: &Pod) -> Site {
    let site = Site::open().await;
    site.ready(&[pod.address]);
    site
}

/// A pod that answers with the request as it got it.
async fn mirror() -> Pod {
    Pod::start(|request| async move {
        let headers: Vec<_> = request.headers().iter().map(|(name, value)| format!("{name}: {value:?}")).collect();
        let line = format!("{} {} {:?} {}", request.method(), request.uri(), request.version(), headers.join(", "));
        let mut answer = Response::new(text(line));
        answer.headers_mut().insert("x-from", "pod".parse().unwrap());
        answer.headers_mut().insert("connection", "x-hop".parse().unwrap());
        answer.headers_mut().insert("x-hop", "1".parse().unwrap());
        answer
    })
    .await
}

#[tokio::test]
async fn method_path_query_host_and_headers_arrive_as_they_were_sent() {
    let site = site_with(&mirror().await).await;
    let answer = asked(&site, "DELETE /a%20b/?c=d&e HTTP/1.1\r\nX-Api-Key: k\r\nCookie: a=b").await;
    assert!(
        answer.contains("DELETE /a%20b/?c=d&e HTTP/1.1 x-api-key: \"k\", cookie: \"a=b\", host: \"shop.example\""),
        "{answer}"
    );
    assert!(answer.contains("x-from: pod") && !answer.contains("x-hop"), "{answer}");
}

#[tokio::test]
async fn http_2_stays_http_2_with_its_authority() {
    let site = site_with(&mirror().await).await;
    let mut client = http2::<Empty<Bytes>>(&site).await;
    let request = Request::get("http://shop.example/a?b").body(Empty::new()).unwrap();
    let (body, _) = collected(client.send_request(request).await.unwrap()).await;
    assert!(body.starts_with(b"GET http://shop.example/a?b HTTP/2.0"), "{body:?}");
}

#[tokio::test]
async fn a_head_request_gets_the_length_without_the_body() {
    let pod = Pod::start(|_| async { Response::new(text("twelve bytes")) }).await;
    let answer = asked(&site_with(&pod).await, "HEAD / HTTP/1.1").await;
    assert!(answer.contains("content-length: 12\r\n") && answer.ends_with("\r\n\r\n"), "{answer}");
}

#[tokio::test]
async fn a_client_of_http_1_0_gets_an_answer_that_it_understands() {
    let pod = Pod::start(|_| async {
        let (frames, body) = channel();
        frames.send(Frame::data("streamed".into())).unwrap();
        Response::new(body.boxed())
    });
    let site = site_with(&pod.await).await;
    let mut client = sent(&site, "GET / HTTP/1.0\r\n\r\n").await;
    let answer = read_all(&mut client).await;
    assert!(answer.starts_with("HTTP/1.0 200") && answer.ends_with("\r\n\r\nstreamed"), "{answer}");
    assert!(!answer.contains("chunked"), "{answer}");
}

#[tokio::test]
async fn a_get_keeps_its_body() {
    let echo = Pod::start(|request| async { Response::new(request.into_body().boxed()) }).await;
    let site = site_with(&echo).await;
    let head =
        "GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n";
    let answer = read_all(&mut sent(&site, head).await).await;
    assert!(answer.contains("ok"), "{answer}");
}

#[tokio::test]
async fn an_answer_is_passed_on_piece_by_piece_and_with_its_trailers() {
    let (frames, body) = channel();
    let body = parking_lot::Mutex::new(Some(body.boxed()));
    let body = std::sync::Arc::new(body);
    let pod = Pod::start(move |_| {
        let body: PodBody = body.lock().take().unwrap();
        async { Response::builder().header("trailer", "x-sum").body(body).unwrap() }
    });
    let site = site_with(&pod.await).await;
    let mut client = sent(&site, "GET / HTTP/1.1\r\nhost: a\r\nte: trailers\r\n\r\n").await;
    for piece in ["first", "second"] {
        frames.send(Frame::data(piece.into())).unwrap();
        read_until(&mut client, piece).await;
    }
    frames.send(Frame::trailers([("x-sum".parse().unwrap(), "2".parse().unwrap())].into_iter().collect())).unwrap();
    drop(frames);
    assert!(read_all(&mut client).await.contains("x-sum: 2"));
}

#[tokio::test]
async fn a_grpc_stream_goes_both_ways_at_once_and_ends_with_trailers() {
    let echo = Pod::start(|request| async {
        assert_eq!((request.version(), &request.headers()["te"]), (Version::HTTP_2, &"trailers".parse().unwrap()));
        let trailers =
            async { Some(Ok(HeaderMap::from_iter([("grpc-status".parse().unwrap(), "0".parse().unwrap())]))) };
        Response::new(request.into_body().with_trailers(trailers).boxed())
    });
    let site = site_with(&echo.await).await;
    let (frames, body) = channel();
    let mut client = http2(&site).await;
    let request = Request::post("http://a/b").header("te", "trailers").header("content-type", "application/grpc");
    let mut answer = client.send_request(request.body(body).unwrap()).await.unwrap();
    for message in ["one", "two"] {
        frames.send(Frame::data(message.into())).unwrap();
        let frame = timeout(DEADLINE, answer.frame()).await.unwrap().unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap(), message);
    }
    drop(frames);
    assert_eq!(collected(answer).await.1["grpc-status"], "0");
}

#[tokio::test]
async fn a_web_socket_is_held_and_then_passed_on_in_both_directions() {
    let site = Site::open().await;
    let head =
        "GET /chat HTTP/1.1\r\nhost: a\r\nconnection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-key: k\r\n\r\n";
    let mut client = sent(&site, head).await;
    site.until_requests(1).await;
    let pod = Pod::start(|mut request| async move {
        assert_eq!(request.headers()["upgrade"], "websocket");
        tokio::spawn(async move {
            let mut stream = TokioIo::new(hyper::upgrade::on(&mut request).await.unwrap());
            let mut word = [0; 4];
            stream.read_exact(&mut word).await.unwrap();
            word.reverse();
            stream.write_all(&word).await.unwrap();
            stream.shutdown().await.unwrap();
        });
        let answer = Response::builder().status(101).header("connection", "upgrade").header("upgrade", "websocket");
        answer.body(text("")).unwrap()
    });
    site.ready(&[pod.await.address]);
    let answer = read_until(&mut client, "\r\n\r\n").await.to_lowercase();
    assert!(answer.starts_with("http/1.1 101") && answer.contains("upgrade: websocket"), "{answer}");
    assert_eq!(site.held().requests, 1, "it is in hand as long as it is open");
    client.write_all(b"ping").await.unwrap();
    assert_eq!(read_all(&mut client).await, "gnip");
    drop(client);
    site.until_requests(0).await;
}

#[tokio::test]
async fn an_upgrade_that_the_pod_refuses_gets_its_answer() {
    let pod = Pod::start(|_| async { Response::builder().status(426).body(text("no")).unwrap() }).await;
    let answer = asked(&site_with(&pod).await, "GET / HTTP/1.1\r\nconnection: upgrade\r\nupgrade: websocket").await;
    assert!(answer.starts_with("HTTP/1.1 426") && answer.ends_with("no"), "{answer}");
}

#[tokio::test]
async fn an_answer_before_the_end_of_the_request_reaches_the_client() {
    let early = Pod::start(|_| async { Response::builder().status(413).body(text("too much")).unwrap() }).await;
    let site = site_with(&early).await;
    let mut client = sent(&site, "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1000000\r\n\r\nbeginning").await;
    read_until(&mut client, "413").await;
    let mut http2 = http2(&site).await;
    let large = Full::new(Bytes::from(vec![0; 1 << 20]));
    let answer = http2.send_request(Request::post("http://a/").body(large).unwrap()).await.unwrap();
    assert_eq!(answer.status(), 413);
}
