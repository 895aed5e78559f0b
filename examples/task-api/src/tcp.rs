//! A TCP echo server: its purpose is to hold connections, which `tidegate.dev/connections` counts.

use tokio::net::{TcpListener, TcpStream};

use crate::server::{PhaseWatch, accept_each};

/// Echoes on every connection until its client leaves or draining begins.
pub(crate) async fn serve(listener: TcpListener, phase: PhaseWatch) {
    accept_each(listener, phase.clone(), move |stream| echo(stream, phase.clone())).await;
}

async fn echo(mut stream: TcpStream, mut phase: PhaseWatch) {
    let (mut reader, mut writer) = stream.split();
    tokio::select! {
        // A client that disconnects is no error of ours.
        _ = tokio::io::copy(&mut reader, &mut writer) => {}
        () = phase.draining() => {}
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::server::{Phase, Phases};

    #[tokio::test]
    async fn connections_echo_until_the_replica_drains() {
        let phases = Phases::new();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(serve(listener, phases.watch()));

        let mut client = TcpStream::connect(address).await.unwrap();
        client.write_all(b"tide").await.unwrap();
        let mut echoed = [0; 4];
        client.read_exact(&mut echoed).await.unwrap();
        assert_eq!(&echoed, b"tide");

        phases.enter(Phase::Draining);
        assert_eq!(client.read(&mut echoed).await.unwrap(), 0, "the server closed the connection");
        server.await.unwrap();
    }
}
