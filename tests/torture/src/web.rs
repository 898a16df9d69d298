//! A little HTTP service that steps send requests to: it outlives every life of the server and leaves marks with the
//! witness. Now and then it is busy.

use std::io::{self, BufRead, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::witness::{Door, Mark, Witness, Work};

/// How long a request may take to arrive.
const PATIENCE: Duration = Duration::from_secs(30);

/// Every so many requests are answered that the service is busy.
const BUSY_EVERY: u64 = 7;

/// Starts the service and returns where it listens. It ends with the process.
pub(crate) fn serve(witness: &Path) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let witness = Arc::new(Witness::open(witness)?);
    let requests = Arc::new(AtomicU64::new(0));
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(stream) = stream else { continue };
            let (witness, requests) = (Arc::clone(&witness), Arc::clone(&requests));
            // Whoever asked may be dead by now.
            std::thread::spawn(move || drop(answer(stream, &witness, &requests)));
        }
    });
    Ok(address)
}

fn answer(stream: TcpStream, witness: &Witness, requests: &AtomicU64) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut reader = BufReader::new(stream);
    let (mut key, mut attempt, mut length) = (String::new(), 0, 0_u64);
    while let Some((name, value)) = header(&mut reader)? {
        match name.as_str() {
            "idempotency-key" => key = value,
            "x-attempt" => attempt = value.parse().unwrap_or_default(),
            "content-length" => length = value.parse().unwrap_or_default(),
            _ => {}
        }
    }
    let mut body = Vec::new();
    reader.by_ref().take(length).read_to_end(&mut body)?;
    let mut parts = key.split('/').map(str::to_owned);
    let work = Work {
        door: Door::Http,
        execution: parts.next().unwrap_or_default(),
        step: parts.next().unwrap_or_default(),
        item: None,
        attempt,
        epoch: 0,
    };
    let count = requests.fetch_add(1, Ordering::Relaxed);
    witness.mark(&Mark::Begin(work.clone()))?;
    std::thread::sleep(Duration::from_millis(count % 5 * 10));
    let mut stream = reader.into_inner();
    if count % BUSY_EVERY == BUSY_EVERY - 1 {
        return stream
            .write_all(b"HTTP/1.1 503 Busy\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    }
    witness.mark(&Mark::End(work))?;
    stream.write_all(
        b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 11\r\nconnection: close\r\n\r\n{\"ok\":true}",
    )
}

/// Reads one line of the head of a request; nothing at its end. The first line has no name.
fn header(reader: &mut BufReader<TcpStream>) -> io::Result<Option<(String, String)>> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let line = line.trim_end();
    if line.is_empty() {
        return Ok(None);
    }
    let (name, value) = line.split_once(':').unwrap_or(("", line));
    Ok(Some((name.to_ascii_lowercase(), value.trim().to_owned())))
}
