//! Newline-delimited JSON on a byte stream: the framing of stdio and raw TCP.

use std::io;

use futures::{Sink, Stream, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio_util::codec::{Decoder, Encoder, FramedRead, FramedWrite};

use super::connection::{Connection, Incoming, Limits, Outgoing};

/// Opens a connection over a byte stream; `read_ahead` holds bytes that were already taken from it.
pub(crate) fn connection<R, W>(
    read_ahead: Bytes,
    read: R,
    write: W,
    limits: Limits,
) -> Connection<impl Stream<Item = Incoming> + Send + Unpin + 'static>
where
    R: AsyncRead + Send + Unpin + 'static,
    W: AsyncWrite + Send + Unpin + 'static,
{
    let decoder = Lines { max: limits.message_max_bytes, searched: 0, skipping: false };
    let mut reader = FramedRead::new(read, decoder);
    reader.read_buffer_mut().extend_from_slice(&read_ahead);
    // A stream that cannot be read any more has ended; there is nobody left to tell.
    let incoming = reader.scan((), |(), line| std::future::ready(line.ok()));
    Connection::new(incoming, outgoing(write), limits, false)
}

fn outgoing<W: AsyncWrite + Send + Unpin + 'static>(
    write: W,
) -> impl Sink<Outgoing, Error = io::Error> + Send + Unpin {
    FramedWrite::new(write, WriteLines)
}

/// Splits bytes into lines of bounded length.
#[derive(Debug)]
pub(crate) struct Lines {
    max: usize,
    // How much of the buffer holds no line break for certain.
    searched: usize,
    // The rest of a line that was too long is thrown away.
    skipping: bool,
}

impl Decoder for Lines {
    type Item = Incoming;
    type Error = io::Error;

    fn decode(&mut self, buffer: &mut BytesMut) -> io::Result<Option<Incoming>> {
        loop {
            let found = buffer[self.searched..]
                .iter()
                .position(|byte| *byte == b'\n')
                .map(|at| at + self.searched);
            match (found, self.skipping) {
                (Some(end), true) => {
                    buffer.advance(end + 1);
                    self.searched = 0;
                    self.skipping = false;
                }
                (Some(end), false) => {
                    let line = buffer.split_to(end + 1);
                    self.searched = 0;
                    if end > self.max {
                        return Ok(Some(Incoming::TooLong));
                    }
                    let line = line.freeze();
                    let end = if line[..end].ends_with(b"\r") { end - 1 } else { end };
                    return Ok(Some(Incoming::Message(line.slice(..end))));
                }
                (None, true) => {
                    buffer.clear();
                    self.searched = 0;
                    return Ok(None);
                }
                (None, false) if buffer.len() > self.max => {
                    buffer.clear();
                    self.searched = 0;
                    self.skipping = true;
                    return Ok(Some(Incoming::TooLong));
                }
                (None, false) => {
                    self.searched = buffer.len();
                    return Ok(None);
                }
            }
        }
    }

    /// A last line without its line break still counts: `printf '{…}' | nc` is a fair way to ask.
    fn decode_eof(&mut self, buffer: &mut BytesMut) -> io::Result<Option<Incoming>> {
        if let Some(line) = self.decode(buffer)? {
            return Ok(Some(line));
        }
        self.searched = 0;
        if buffer.is_empty() || self.skipping {
            buffer.clear();
            return Ok(None);
        }
        Ok(Some(Incoming::Message(buffer.split().freeze())))
    }
}

/// Writes one message and a line break.
#[derive(Debug)]
struct WriteLines;

impl Encoder<Outgoing> for WriteLines {
    type Error = io::Error;

    fn encode(&mut self, item: Outgoing, buffer: &mut BytesMut) -> io::Result<()> {
        // A byte stream knows neither pings nor close frames.
        if let Outgoing::Message(message) = item {
            buffer.reserve(message.len() + 1);
            buffer.put_slice(&message);
            buffer.put_u8(b'\n');
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(max: usize, chunks: &[&[u8]]) -> Vec<String> {
        let mut decoder = Lines { max, searched: 0, skipping: false };
        let mut buffer = BytesMut::new();
        let mut seen = Vec::new();
        let mut note = |item: Option<Incoming>| match item {
            Some(Incoming::Message(bytes)) => {
                seen.push(String::from_utf8_lossy(&bytes).into_owned());
                true
            }
            Some(Incoming::TooLong) => {
                seen.push("TOO LONG".to_owned());
                true
            }
            _ => false,
        };
        for chunk in chunks {
            buffer.extend_from_slice(chunk);
            while note(decoder.decode(&mut buffer).unwrap()) {}
        }
        while note(decoder.decode_eof(&mut buffer).unwrap()) {}
        seen
    }

    #[test]
    fn lines_arrive_whole_however_they_were_cut() {
        assert_eq!(lines(10, &[b"ab", b"c\nd\r\n", b"\n", b"e"]), ["abc", "d", "", "e"]);
    }

    #[test]
    fn a_line_at_the_limit_passes_and_one_past_it_is_skipped_to_its_end() {
        assert_eq!(lines(4, &[b"1234\n12345\nok\n"]), ["1234", "TOO LONG", "ok"]);
        assert_eq!(lines(4, &[b"12345", b"6789", b"0\nok\n"]), ["TOO LONG", "ok"]);
        assert_eq!(lines(4, &[b"12345678"]), ["TOO LONG"]);
    }
}
