//! The real server as a process: started on any free port, watched through what it logs, ended in every way there is.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};

use rustix::process::{Pid, Signal, kill_process};

use crate::{Client, Era, until};

/// What a program has written to standard error so far. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Log(Arc<Mutex<String>>);

impl Log {
    /// Collects a stream to its end, on a thread of its own: a program whose log nobody reads stands still.
    pub fn of(stream: impl Read + Send + 'static) -> Self {
        let log = Self::default();
        let writer = log.clone();
        std::thread::spawn(move || {
            let mut reader = BufReader::new(stream);
            let mut line = Vec::new();
            while reader.read_until(b'\n', &mut line).is_ok_and(|count| count > 0) {
                let text = String::from_utf8_lossy(&line);
                writer.0.lock().expect("nobody breaks off while holding it").push_str(&text);
                line.clear();
            }
        });
        log
    }

    /// Returns everything so far.
    pub fn text(&self) -> String {
        self.0.lock().expect("nobody breaks off while holding it").clone()
    }
}

/// A running server. Killed when it is dropped.
#[derive(Debug)]
pub struct Server {
    child: Child,
    address: SocketAddr,
    log: Log,
}

impl Server {
    /// Starts the prepared program and waits until it says where it listens.
    ///
    /// # Panics
    ///
    /// When it ends or stays silent instead.
    pub async fn start(mut command: Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the program starts");
        let log = Log::of(child.stderr.take().expect("standard error is a pipe"));
        let address = until("the server to listen", || {
            if let Some(address) = listening(&log.text()) {
                return Some(address);
            }
            let ended = child.try_wait().expect("a child can be waited for");
            assert!(ended.is_none(), "the server ended with {ended:?}:\n{}", log.text());
            None
        })
        .await;
        Self { child, address, log }
    }

    /// Returns where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns a URL on it.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Returns what it has logged.
    pub fn log(&self) -> Log {
        self.log.clone()
    }

    /// Returns its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Connects over raw TCP.
    pub async fn tcp(&self, era: Era) -> Client {
        Client::over_tcp(self.address, era).await
    }

    /// Connects over streamable HTTP.
    pub async fn http(&self, era: Era) -> Client {
        Client::over_http(&self.url("/mcp"), era).await
    }

    /// Connects in the way most tests do.
    pub async fn client(&self) -> Client {
        self.tcp(Era::Initialize).await
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).expect("a child that was not waited for is there");
    }

    /// Ends it as a crash does, and waits until it is gone.
    pub fn kill(mut self) {
        self.child.kill().expect("a child can be killed");
        let status = self.child.wait().expect("a child can be waited for");
        assert_eq!(status.signal(), Some(9), "{status:?}:\n{}", self.log.text());
    }

    /// Asks it to stop and waits until it has.
    ///
    /// # Panics
    ///
    /// When it does not stop.
    pub async fn stop(mut self) -> (ExitStatus, Log) {
        self.signal(Signal::TERM);
        let status = until("the server to stop", || {
            self.child.try_wait().expect("a child can be waited for")
        })
        .await;
        (status, self.log.clone())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
        if std::thread::panicking() {
            let mut error = std::io::stderr().lock();
            std::io::Write::write_all(
                &mut error,
                format!("--- the server's log ---\n{}", self.log.text()).as_bytes(),
            )
            .ok();
        }
    }
}

/// Finds the address in the line that says that the server listens.
fn listening(log: &str) -> Option<SocketAddr> {
    let line = log.lines().find(|line| line.contains("listening"))?;
    line.split(|char: char| char.is_whitespace() || "=\"`,/".contains(char))
        .find_map(|word| word.parse().ok())
}
