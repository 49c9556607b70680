//! A bare proxy: bytes copied both ways, nothing read. What a gateway does on top of it is what it costs.

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};

/// Copies between whoever connects and `to`.
pub(crate) async fn copy(listener: TcpListener, to: String) {
    loop {
        let Ok((mut client, _)) = listener.accept().await else { continue };
        let to = to.clone();
        tokio::spawn(async move {
            let Ok(mut server) = TcpStream::connect(&to).await else { return };
            // Tokens are small writes on both sides.
            if client.set_nodelay(true).and_then(|()| server.set_nodelay(true)).is_ok() {
                let _ = copy_bidirectional(&mut client, &mut server).await;
            }
        });
    }
}
