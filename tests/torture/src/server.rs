//! The real server over its many lives: started, killed, frozen, and where it listens now.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::{Child, ChildStderr, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::faults::Faults;
use crate::home::Home;
use crate::processes::signal;
use crate::world::Figures;

/// How long a life may take to listen, or to end when it is asked to.
const PATIENCE: Duration = Duration::from_secs(60);

/// Words in the log that no run may bring forth.
const ALARMS: [&str; 3] = ["panicked", "is stuck", "stands still"];

/// The server.
#[derive(Debug)]
pub(crate) struct Server {
    home: Home,
    config: PathBuf,
    life: Mutex<Life>,
    changed: Condvar,
    log: Mutex<File>,
    faults: Arc<Faults>,
    figures: Arc<Figures>,
}

#[derive(Debug, Default)]
struct Life {
    number: u32,
    child: Option<Child>,
    address: Option<SocketAddr>,
}

impl Server {
    /// Prepares the server; it does not run yet.
    pub(crate) fn new(home: Home, config: PathBuf) -> std::io::Result<Self> {
        let log = File::create(home.path().join("server.log"))?;
        Ok(Self {
            home,
            config,
            life: Mutex::default(),
            changed: Condvar::new(),
            log: Mutex::new(log),
            faults: Arc::default(),
            figures: Arc::default(),
        })
    }

    pub(crate) fn home(&self) -> &Home {
        &self.home
    }

    pub(crate) fn faults(&self) -> Arc<Faults> {
        Arc::clone(&self.faults)
    }

    pub(crate) fn figures(&self) -> Arc<Figures> {
        Arc::clone(&self.figures)
    }

    fn life(&self) -> MutexGuard<'_, Life> {
        self.life.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins another life; returns before it listens.
    pub(crate) fn start(self: &Arc<Self>) {
        let mut command = self.home.command();
        command
            .env("CAELUM_WORKFLOW_CONFIG", &self.config)
            .args(["serve", "--port", "0"])
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let mut life = self.life();
        let began = Instant::now();
        let mut child = command.spawn().expect("the server's program starts");
        let log = child.stderr.take().expect("standard error is a pipe");
        life.number += 1;
        life.child = Some(child);
        life.address = None;
        let (server, number) = (Arc::clone(self), life.number);
        std::thread::spawn(move || server.read(log, number, began));
    }

    /// Reads what a life logs, to its end.
    fn read(&self, log: ChildStderr, number: u32, began: Instant) {
        for line in BufReader::new(log).lines() {
            let Ok(line) = line else { return };
            let mut file = self.log.lock().unwrap_or_else(PoisonError::into_inner);
            // The log is for people who look at a fault; a full disk shows elsewhere.
            writeln!(file, "{number} {line}").ok();
            drop(file);
            if let Some(alarm) = ALARMS.iter().find(|alarm| line.contains(**alarm)) {
                self.faults.add(format!("life {number} logged `{alarm}`: {line}"));
            }
            if let Some(address) = listening(&line) {
                let mut life = self.life();
                if life.number == number && life.child.is_some() {
                    life.address = Some(address);
                    self.changed.notify_all();
                    let mut starts =
                        self.figures.starts.lock().unwrap_or_else(PoisonError::into_inner);
                    starts.push(began.elapsed());
                }
            }
        }
    }

    /// Waits until some life listens, and says where.
    pub(crate) fn address(&self) -> SocketAddr {
        let end = Instant::now() + PATIENCE;
        let mut life = self.life();
        loop {
            if let Some(address) = life.address {
                return address;
            }
            let left = end.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "no life of the server listened within {PATIENCE:?}");
            life = self.changed.wait_timeout(life, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Returns the process id of the present life.
    pub(crate) fn id(&self) -> Option<u32> {
        self.life().child.as_ref().map(Child::id)
    }

    /// Whether the present life listens.
    pub(crate) fn listens(&self) -> bool {
        self.life().address.is_some()
    }

    /// Sends the present life a signal.
    pub(crate) fn signal(&self, what: Signal) {
        if let Some(id) = self.id() {
            signal(i32::try_from(id).expect("a process id is small"), what);
        }
    }

    /// Ends the present life as a crash does.
    pub(crate) fn kill(&self) {
        let mut life = self.life();
        life.address = None;
        let Some(mut child) = life.child.take() else { return };
        if let Ok(Some(status)) = child.try_wait() {
            self.faults.add(format!("life {} ended by itself: {status}", life.number));
            return;
        }
        child.kill().expect("a child can be killed");
        child.wait().expect("a child can be waited for");
    }

    /// Asks the present life to stop, and waits until it has. One that does not listen yet may not have come so far that
    /// it hears the signal: the system ends it then, as a kill would.
    pub(crate) fn stop(&self) {
        let heeds = self.listens();
        self.signal(Signal::TERM);
        let (child, number) = {
            let mut life = self.life();
            life.address = None;
            (life.child.take(), life.number)
        };
        let Some(mut child) = child else { return };
        let end = Instant::now() + PATIENCE;
        loop {
            match child.try_wait().expect("a child can be waited for") {
                Some(status) if status.success() => return,
                Some(status) if !heeds && status.signal() == Some(Signal::TERM.as_raw()) => return,
                Some(status) => {
                    self.faults.add(format!("life {number} was asked to stop and ended: {status}"));
                    return;
                }
                None if Instant::now() > end => {
                    self.faults.add(format!("life {number} did not stop within {PATIENCE:?}"));
                    child.kill().expect("a child can be killed");
                    child.wait().expect("a child can be waited for");
                    return;
                }
                None => std::thread::sleep(Duration::from_millis(10)),
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Finds the address in a line that says that the server listens.
fn listening(line: &str) -> Option<SocketAddr> {
    if !line.contains("listening") {
        return None;
    }
    line.split(|char: char| char.is_whitespace() || "=\"`,/".contains(char))
        .find_map(|word| word.parse().ok())
}
