//! Reading with as much memory as the traffic deserves.

use std::io;
use std::rc::Rc;

use super::buffer::{Buffer, BufferPool, SMALL};
use super::poll;
use super::socket::Socket;

/// Reads one direction of a connection.
///
/// While little comes at a time the read itself waits, in a small buffer: one operation a
/// message. Once a read filled its buffer, or when small buffers are scarce, the wait holds no
/// buffer at all, and one as large as what has come is taken when there is something to read.
pub(crate) struct Reader {
    socket: Socket,
    pool: Rc<BufferPool>,
    bulk: bool,
}

impl Reader {
    pub(crate) const fn new(socket: Socket, pool: Rc<BufferPool>) -> Self {
        Self { socket, pool, bulk: false }
    }

    /// What came next; an empty buffer at the end of the stream.
    pub(crate) async fn read(&mut self) -> io::Result<Buffer> {
        let lent = if self.bulk { None } else { self.pool.lend_small() };
        let buffer = match lent {
            Some(buffer) => buffer,
            None => self.buffer_for_waiting().await?,
        };
        let capacity = buffer.capacity();
        let buffer = self.socket.read(buffer).await?;
        self.bulk = buffer.len() == capacity || buffer.len() > SMALL;
        Ok(buffer)
    }

    /// Waits for something to read and takes a buffer of fitting size.
    async fn buffer_for_waiting(&self) -> io::Result<Buffer> {
        let mut waiting = self.socket.bytes_waiting()?;
        if waiting == 0 {
            poll::readable(self.socket.stream()).await?;
            waiting = self.socket.bytes_waiting()?;
        }
        Ok(if waiting > SMALL { self.pool.large() } else { self.pool.small() })
    }
}
