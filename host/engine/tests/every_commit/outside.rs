//! What outlives every life of the engine: a witness file, and a web service that writes to it too.

use std::fs::OpenOptions;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};

/// One effect that began.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Trace {
    pub(crate) execution: String,
    pub(crate) step: String,
    /// The item, where the step goes over a list.
    pub(crate) item: Option<u32>,
    pub(crate) attempt: u32,
    /// The delivery, where the effect was told.
    pub(crate) epoch: Option<u32>,
}

/// The witness and the service. The service ends with the process.
#[derive(Debug)]
pub(crate) struct Outside {
    pub(crate) witness: PathBuf,
    pub(crate) web: SocketAddr,
}

/// Appends a line; one short write on a file opened for appending stays whole.
fn append(witness: &Path, line: &str) {
    let file = OpenOptions::new().append(true).create(true).open(witness);
    file.and_then(|mut file| file.write_all(format!("{line}\n").as_bytes())).expect("written");
}

impl Outside {
    pub(crate) fn new(place: &Path) -> Self {
        let witness = place.join("witness");
        std::fs::write(&witness, "").expect("written");
        let listener = TcpListener::bind("127.0.0.1:0").expect("the loopback has a port");
        let web = listener.local_addr().expect("it is bound");
        let to = witness.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                answer(stream, &to);
            }
        });
        Outside { witness, web }
    }

    /// Returns everything that began, in order.
    pub(crate) fn traces(&self) -> Vec<Trace> {
        let text = std::fs::read_to_string(&self.witness).expect("it is there");
        text.lines().map(Trace::read).collect()
    }
}

impl Trace {
    /// Reads a line: `EXECUTION/STEP/MACHINE[/ITEM] ATTEMPT EPOCH`, the epoch `-` where the effect was not told.
    fn read(line: &str) -> Self {
        let fields: Vec<&str> = line.split(' ').collect();
        let mut key = fields[0].split('/').map(str::to_owned);
        Trace {
            execution: key.next().unwrap_or_default(),
            step: key.next().unwrap_or_default(),
            item: key.nth(1).and_then(|item| item.parse().ok()),
            attempt: fields[1].parse().unwrap_or_else(|_| panic!("`{line}`")),
            epoch: fields[2].parse().ok(),
        }
    }
}

/// Takes a request down and answers it.
fn answer(mut stream: TcpStream, witness: &Path) {
    let mut head = BufReader::new(&mut stream).lines();
    let (mut key, mut attempt) = (String::new(), String::new());
    while let Some(Ok(line)) = head.next() {
        if line.is_empty() {
            break;
        }
        let (name, value) = line.split_once(':').unwrap_or_default();
        match name.to_ascii_lowercase().as_str() {
            "idempotency-key" => value.trim().clone_into(&mut key),
            "x-attempt" => value.trim().clone_into(&mut attempt),
            _ => {}
        }
    }
    if !key.is_empty() {
        append(witness, &format!("{key} {attempt} -"));
    }
    // Whoever asked may be dead by now.
    stream
        .write_all(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}")
        .ok();
}
