//! One connection through the relay.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::pattern::Stream;
use crate::wire::{self, Header};

/// Connections that may be on their way at once while many are opened: fewer than the shortest
/// accept queue, so that no SYN is dropped and none waits a second to be sent again.
const OPENING: usize = 64;

/// An open connection and how far each direction has come.
pub(crate) struct Client {
    pub(crate) socket: TcpStream,
    pub(crate) header: Header,
    pub(crate) request: Stream,
    pub(crate) reply: Stream,
    pub(crate) buffer: Vec<u8>,
}

impl Client {
    /// Connects; nothing is sent yet.
    pub(crate) async fn connect(address: SocketAddr, header: Header) -> Result<Self> {
        let socket = TcpStream::connect(address).await.context("cannot connect")?;
        socket.set_nodelay(true)?;
        Ok(Self {
            socket,
            header,
            request: Stream::request(header.seed),
            reply: Stream::reply(header.seed),
            buffer: Vec::new(),
        })
    }

    /// Sends the header and the first `length` bytes as one write.
    pub(crate) async fn begin(&mut self, length: usize) -> Result<()> {
        let first = [&self.header.encode()[..], self.request.peek(length)].concat();
        self.socket.write_all(&first).await.context("cannot send")?;
        self.request.advance(length);
        Ok(())
    }

    pub(crate) async fn send(&mut self, length: u64) -> Result<()> {
        let chunk = self.header.chunk as usize;
        let sent = wire::send(&mut self.socket, &mut self.request, length, chunk).await;
        sent.context("cannot send")
    }

    pub(crate) async fn receive(&mut self, length: u64) -> Result<()> {
        self.buffer.resize(self.header.chunk as usize, 0);
        let received =
            wire::receive(&mut self.socket, &mut self.reply, length, &mut self.buffer).await;
        received.context("cannot receive")
    }

    /// Sends `length` bytes and verifies the answer.
    pub(crate) async fn exchange(&mut self, length: u64) -> Result<()> {
        self.send(length).await?;
        self.receive(length).await
    }

    /// Waits until the server has verified all that a [`wire::Task::Sink`] was promised.
    pub(crate) async fn verdict(&mut self) -> Result<u64> {
        let verified = self.socket.read_u64().await.context("the server did not verify")?;
        ensure!(verified == self.header.length, "the server verified {verified} bytes only");
        Ok(verified)
    }
}

/// Opens `count` connections, each with its own header, whose seeds count from 0. With `greet`
/// one byte is exchanged on each, after which it is known to reach the server.
pub(crate) async fn open_all(
    address: SocketAddr,
    count: usize,
    header: Header,
    greet: bool,
) -> Result<Vec<Client>> {
    let gate = Arc::new(Semaphore::new(OPENING));
    let mut opening = JoinSet::new();
    for seed in 0..count as u64 {
        let gate = gate.clone();
        opening.spawn(async move {
            let _turn = gate.acquire().await?;
            let mut client = Client::connect(address, Header { seed, ..header }).await?;
            client.begin(usize::from(greet)).await?;
            client.receive(u64::from(greet)).await?;
            anyhow::Ok(client)
        });
    }
    let mut clients = Vec::with_capacity(count);
    while let Some(client) = opening.join_next().await {
        clients.push(client??);
    }
    Ok(clients)
}
