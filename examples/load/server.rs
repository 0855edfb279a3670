//! The upstream of the relay: verifies every byte and answers as the client's header asks.

use std::io::{self, Read, Write};
use std::net::SocketAddr;

use anyhow::{Context, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use crate::pattern::Stream;
use crate::wire::{self, HEADER, Header, Task};

/// Enough for every connection of a storm to be on its way at once.
const BACKLOG: u32 = 4096;

/// Listens, prints the address as one line, and serves until standard input ends: a server never
/// outlives the process that started it.
pub(crate) async fn run(listen: SocketAddr) -> Result<()> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(listen).with_context(|| format!("cannot listen on {listen}"))?;
    let listener = socket.listen(BACKLOG)?;
    writeln!(io::stdout(), "{}", listener.local_addr()?)?;
    let parent = tokio::task::spawn_blocking(|| io::stdin().read_to_end(&mut Vec::new()));
    tokio::select! {
        _ = parent => Ok(()),
        result = accept(listener) => result,
    }
}

async fn accept(listener: TcpListener) -> Result<()> {
    loop {
        let (socket, _) = listener.accept().await.context("cannot accept")?;
        tokio::spawn(async move {
            if let Err(error) = serve(socket).await
                && error.kind() == io::ErrorKind::InvalidData
            {
                eprintln!("server: {error}");
            }
        });
    }
}

/// Serves one connection. Returning with an error closes the socket early, which the client
/// counts; so does a mismatch.
async fn serve(mut socket: TcpStream) -> io::Result<()> {
    socket.set_nodelay(true)?;
    let mut header = [0; HEADER];
    socket.read_exact(&mut header).await?;
    let header = Header::decode(&header)?;
    let mut buffer = vec![0; header.chunk as usize];
    let mut request = Stream::request(header.seed);
    match header.task {
        Task::Echo => {
            echo(&mut socket, &mut request, Stream::reply(header.seed), &mut buffer).await
        }
        Task::Sink => {
            wire::receive(&mut socket, &mut request, header.length, &mut buffer).await?;
            socket.write_u64(request.offset()).await?;
            socket.read(&mut buffer).await.map(drop)
        }
        Task::Reset => {
            wire::receive(&mut socket, &mut request, header.length, &mut buffer).await?;
            wire::reset(socket);
            Ok(())
        }
    }
}

async fn echo(
    socket: &mut TcpStream,
    request: &mut Stream,
    mut reply: Stream,
    buffer: &mut [u8],
) -> io::Result<()> {
    loop {
        let n = socket.read(buffer).await?;
        if n == 0 {
            return Ok(());
        }
        request.verify(&buffer[..n]).map_err(wire::invalid)?;
        wire::send(socket, &mut reply, n as u64, n).await?;
    }
}
