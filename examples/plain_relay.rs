//! The plainest relay there is, on tokio: what a relay costs that records nothing. The bench
//! compares with it.

use anyhow::{Context, Result};
use clap::Parser;
use tokio::io::copy_bidirectional_with_sizes;
use tokio::net::{TcpSocket, TcpStream};

#[derive(Parser)]
struct Arguments {
    #[arg(long)]
    from: std::net::SocketAddr,
    #[arg(long)]
    to: std::net::SocketAddr,
    /// Bytes of each direction's buffer
    #[arg(long, default_value_t = 64 * 1024)]
    buffer: usize,
}

#[tokio::main]
async fn main() -> Result<()> {
    let Arguments { from, to, buffer } = Arguments::parse();
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(from).with_context(|| format!("cannot listen on {from}"))?;
    let listener = socket.listen(4096)?;
    loop {
        let (mut client, _) = listener.accept().await?;
        tokio::spawn(async move {
            let mut server = TcpStream::connect(to).await?;
            client.set_nodelay(true)?;
            server.set_nodelay(true)?;
            copy_bidirectional_with_sizes(&mut client, &mut server, buffer, buffer).await
        });
    }
}
