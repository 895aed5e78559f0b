//! Connections in other protocols than HTTP without TLS: held as a whole, and then passed on byte by byte.

use std::sync::Arc;

use tokio::{io::copy_bidirectional, time::Instant};

use crate::{client::Client, kind::Kind, metrics::Ending, passage::Passage, sniff::is_tls};

/// Holds a connection until a pod is there, and splices it to that. `first` are the bytes that were read to recognise it.
pub(crate) async fn serve(mut client: Client, first: &[u8], passage: Arc<Passage>) {
    let shared = &passage.shared;
    let mut ending = Ending::new(Kind::Connection, &shared.metrics);
    let _in_hand = match passage.admit(Kind::Connection) {
        Ok(in_hand) => in_hand,
        Err(refusal) => return ending.is(refusal.outcome()),
    };
    let _tracked = shared.in_hand.token();
    let presence = client.presence();
    let gone = async {
        // Nobody ends a TLS connection half way through its handshake and waits for an answer.
        if is_tls(first) { presence.gone().await } else { presence.given_up(!first.is_empty()).await }
    };
    let (_pod, mut pod) = match passage.pass(&passage.ticket(), Instant::now(), gone).await {
        Ok(passed) => passed,
        Err(refusal) => return ending.is(refusal.outcome()),
    };
    ending.is("passed_on");
    client.read_again(first);
    // An error means that one side broke off, and the other learns it by the end of its connection.
    let _ = copy_bidirectional(&mut client, &mut pod).await;
}
