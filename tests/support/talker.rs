//! Two ends of a real connection that talk as they are told, and keep what they said and heard.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::thread::JoinHandle;

use tcp_tunn::event::Side;

use super::bytes::bytes;
use super::end::{patient, reset};

#[derive(Clone, Debug)]
pub(crate) enum Step {
    Say(Side, usize),
    Finish(Side),
    Reset(Side),
}

/// One end, which always listens, so that no talk is stuck.
pub(crate) struct Talker {
    stream: Option<TcpStream>,
    hearing: JoinHandle<Vec<u8>>,
    said: Vec<u8>,
    finished: bool,
}

impl Talker {
    pub(crate) fn new(stream: TcpStream) -> Self {
        let mut reader = patient(stream.try_clone().unwrap());
        let hearing = std::thread::spawn(move || {
            let mut heard = Vec::new();
            // What came before an error counts too.
            let _ = reader.read_to_end(&mut heard);
            heard
        });
        Self { stream: Some(patient(stream)), hearing, said: Vec::new(), finished: false }
    }

    fn say(&mut self, len: usize) {
        if let Some(stream) = self.stream.as_mut().filter(|_| !self.finished) {
            let bytes = bytes(self.said.len() as u64 + 1, len);
            self.said.extend_from_slice(&bytes);
            // The other may have reset the connection.
            let _ = stream.write_all(&bytes);
        }
    }

    fn finish(&mut self) {
        self.finished = true;
        if let Some(stream) = &self.stream {
            let _ = stream.shutdown(Shutdown::Write);
        }
    }

    fn reset(&mut self) {
        if let Some(stream) = self.stream.take() {
            // The reader holds the socket open: what it reads is to fail.
            let _ = stream.shutdown(Shutdown::Read);
            reset(stream);
        }
    }

    /// What it said and heard.
    fn end(mut self) -> (Vec<u8>, Vec<u8>) {
        self.finish();
        let heard = self.hearing.join().unwrap();
        (self.said, heard)
    }
}

/// What each said and heard.
pub(crate) fn talk(steps: &[Step], client: Talker, server: Talker) -> [(Vec<u8>, Vec<u8>); 2] {
    let mut ends = [client, server];
    for step in steps {
        match *step {
            Step::Say(side, len) => ends[side as usize].say(len),
            Step::Finish(side) => ends[side as usize].finish(),
            Step::Reset(side) => ends[side as usize].reset(),
        }
    }
    ends.iter_mut().for_each(Talker::finish);
    ends.map(Talker::end)
}
