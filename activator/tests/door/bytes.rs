//! Connections in other protocols, and bytes that are no protocol at all.

use std::net::SocketAddr;

use proptest::{prelude::*, test_runner::TestRunner};
use tidegate_activator::{Closed, DoorProtocol, HoldLimits};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use crate::{
    clients::{asked, is_silent, read_all, read_until, sent},
    site::{Pod, Site, until},
};

/// A pod that speaks first, and then reverses everything that it has got when the client has ended.
async fn server_first() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                stream.write_all(b"welcome ").await.unwrap();
                let mut got = Vec::new();
                stream.read_to_end(&mut got).await.unwrap();
                got.reverse();
                stream.write_all(&got).await.unwrap();
            });
        }
    });
    address
}

#[tokio::test]
async fn tls_is_held_as_a_connection_and_its_bytes_arrive_unchanged() {
    let site = Site::open().await;
    let mut client = sent(&site, b"\x16\x03\x01 client hello, of more bytes than are read to recognise it").await;
    site.until_connections(1).await;
    assert_eq!(site.held().requests, 0);
    site.ready(&[server_first().await]);
    read_until(&mut client, "welcome ").await;
    client.shutdown().await.unwrap();
    assert_eq!(read_all(&mut client).await, "ti esingocer ot daer era naht setyb erom fo ,olleh tneilc \x01\x03\x16");
    site.until_connections(0).await;
}

#[tokio::test]
async fn a_connection_of_a_tcp_door_is_demand_before_its_first_byte() {
    let site = Site::with(HoldLimits::default(), |door| door.protocol = DoorProtocol::Tcp).await;
    let mut client = site.connect().await;
    site.until_connections(1).await;
    site.ready(&[server_first().await]);
    read_until(&mut client, "welcome ").await;
}

#[tokio::test]
async fn a_client_that_ends_its_half_and_waits_is_served_and_one_that_leaves_is_not_waited_for() {
    let site = Site::with(HoldLimits::default(), |door| door.protocol = DoorProtocol::Tcp).await;
    let leaves = site.connect().await;
    let mut waits = sent(&site, "abc").await;
    waits.shutdown().await.unwrap();
    site.until_connections(2).await;
    drop(leaves);
    site.until_connections(1).await;
    assert!(is_silent(&mut waits).await);
    site.ready(&[server_first().await]);
    assert_eq!(read_all(&mut waits).await, "welcome cba");
}

#[tokio::test]
async fn a_tls_client_that_leaves_frees_its_place() {
    let site = Site::open().await;
    let client = sent(&site, b"\x16\x03\x01 client hello").await;
    site.until_connections(1).await;
    drop(client);
    site.until_connections(0).await;
}

#[tokio::test]
async fn letters_that_never_become_a_request_are_taken_for_another_protocol_after_a_second() {
    let site = Site::open().await;
    let mut client = sent(&site, "HELO").await;
    site.until_connections(1).await;
    site.ready(&[server_first().await]);
    read_until(&mut client, "welcome ").await;
}

#[tokio::test]
async fn a_connection_that_is_refused_is_closed() {
    let site = Site::with(HoldLimits::default(), |door| door.protocol = DoorProtocol::Tcp).await;
    site.change_rules(|rules| rules.closed = Some(Closed { opens: None }));
    until("the door refuses", || std::net::TcpStream::connect(site.address).is_ok()).await;
    assert_eq!(read_all(&mut site.connect().await).await, "");
}

/// Any bytes, often ones that begin like a protocol.
fn any_bytes() -> impl Strategy<Value = Vec<u8>> {
    let noise = || prop::collection::vec(any::<u8>(), 0..300);
    let beginnings = prop::sample::select(vec![
        &b"GET / HTTP/1.1\r\n"[..],
        b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n",
        b"GET / HTTP/1.1\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0",
        b"CONNECT a:1 HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01",
        b"",
    ]);
    (beginnings, noise()).prop_map(|(beginning, noise)| [beginning, &noise].concat())
}

#[test]
fn no_bytes_keep_the_door_from_serving_the_next_client() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let (site, pod) = runtime.block_on(async { (Site::open().await, Pod::greeting().await) });
    let cases = ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() };
    let any = (any_bytes(), any::<bool>());
    let result = TestRunner::new(cases).run(&any, |(bytes, is_ready)| {
        runtime.block_on(async {
            site.ready(if is_ready { std::slice::from_ref(&pod.address) } else { &[] });
            let mut client = sent(&site, &bytes).await;
            // What comes back does not matter, nor whether anything does.
            let _ = client.shutdown().await;
            drop(client);
            Ok(())
        })
    });
    result.unwrap();
    runtime.block_on(async {
        site.ready(&[pod.address]);
        assert!(asked(&site, "GET / HTTP/1.1").await.ends_with("hello"));
        until("nothing is left in hand", || site.held().requests == 0 && site.held().connections == 0).await;
        assert!(!site.running.is_finished());
    });
}
