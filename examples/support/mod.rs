//! What the examples have in common: servers and clients to talk through a tunnel, so that they
//! run without network and come to an end.

#![allow(dead_code, reason = "no example needs all of it")]

use std::error::Error;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use tcp_tunn::tunnel::Tunnel;

/// What an example's main function returns.
pub(crate) type Outcome<T = ()> = Result<T, Box<dyn Error + Send + Sync>>;

/// Runs `tunnel` on a thread for as long as `talk` talks through it, given where it listens.
pub(crate) fn run<T>(tunnel: Tunnel, talk: impl FnOnce(SocketAddr) -> io::Result<T>) -> Outcome<T> {
    let address = tunnel.listening()[0].address().socket_addr().ok_or("no TCP address")?;
    let handle = tunnel.handle();
    let running = thread::spawn(|| tunnel.run());
    let said = talk(address);
    handle.stop();
    running.join().map_err(|_| "the tunnel panicked")??;
    Ok(said?)
}

/// A server that says what it hears, until the process ends.
pub(crate) fn echo_server() -> io::Result<SocketAddr> {
    serve(|stream| io::copy(&mut &stream, &mut &stream).map(drop))
}

/// A web server that answers with the heads of the requests that it gets.
pub(crate) fn http_server() -> io::Result<SocketAddr> {
    serve(|stream| {
        let mut reader = BufReader::new(&stream);
        loop {
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") {
                if reader.read_line(&mut head)? == 0 {
                    return Ok(());
                }
            }
            let len = head.len();
            let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {len}\r\n\r\n{head}");
            (&stream).write_all(answer.as_bytes())?;
        }
    })
}

fn serve(
    serve: impl Fn(TcpStream) -> io::Result<()> + Clone + Send + 'static,
) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let serve = serve.clone();
            thread::spawn(move || serve(stream));
        }
    });
    Ok(address)
}

/// Says `words`, ends, and hears the answer to its end.
pub(crate) fn say(address: SocketAddr, words: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    stream.write_all(words.as_bytes())?;
    stream.shutdown(Shutdown::Write)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}
