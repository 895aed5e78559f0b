//! A client's connection from its first byte: which protocol it speaks, and how it is served then.

use std::{sync::Arc, time::Duration};

use tokio::{net::TcpStream, time::sleep};

use crate::{
    client::{Client, IDLE},
    door::DoorProtocol,
    http,
    passage::Passage,
    sniff::{ENOUGH, Protocol, sniff},
    splice,
};

/// Time after which a few letters that might become a request are taken for another protocol, whose server is to answer them.
const UNDECIDED: Duration = Duration::from_secs(1);

/// Time for the first bytes to arrive on a connection that was made just before its door closed.
const LAST_BYTES: Duration = Duration::from_millis(500);

/// Serves a connection until it ends.
pub(crate) async fn serve(stream: TcpStream, passage: Arc<Passage>) {
    // An error means that the client is gone, which the first read reports.
    let _ = stream.set_nodelay(true);
    let mut client = Client::new(stream);
    let mut first = Vec::new();
    let protocol = match passage.door().protocol {
        DoorProtocol::Tcp => Some(Protocol::Bytes),
        DoorProtocol::Sniffed => {
            let closing = passage.closing.clone();
            tokio::select! {
                protocol = recognise(&mut client, &mut first) => protocol,
                () = async { closing.cancelled().await; sleep(LAST_BYTES).await } => None,
            }
        }
    };
    match protocol {
        None => {}
        Some(Protocol::Bytes) => Box::pin(splice::serve(client, &first, passage)).await,
        Some(Protocol::Http1) => {
            client.read_again(&first);
            Box::pin(http::serve_http1(client, passage)).await;
        }
        Some(Protocol::Http2) => {
            client.read_again(&first);
            Box::pin(http::serve_http2(client, passage)).await;
        }
    }
}

/// Reads until the protocol is known. `None` if the client leaves, or sends nothing for long.
async fn recognise(client: &mut Client, first: &mut Vec<u8>) -> Option<Protocol> {
    loop {
        if let Some(protocol) = sniff(first) {
            return Some(protocol);
        }
        let undecided = (!first.is_empty()).then_some(Protocol::Bytes);
        tokio::select! {
            read = client.read_first(first, ENOUGH) => match read {
                Ok(true) => {}
                Ok(false) => return undecided,
                Err(_) => return None,
            },
            () = sleep(if undecided.is_some() { UNDECIDED } else { IDLE }) => return undecided,
        }
    }
}
