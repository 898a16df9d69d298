//! The compiler process: it limits itself, reads its order and the file, works, writes what it made, and ends. It opens
//! no file, and whatever the file does to it ends with it.

use std::io::{self, BufRead, IsTerminal, Read, Write};
use std::process::ExitCode;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, setrlimit};

use crate::runtime::compiler_engine;

use super::CompileError;
use super::contained::{compile, encode};
use super::order::{LINE_BYTES_MAX, Order, Work};

/// The order cannot be read, or a person has started this.
const NOT_UNDERSTOOD: u8 = 2;
/// The file is refused; standard error says why.
pub(super) const REFUSED: u8 = 3;
/// The compiler broke down; standard error says how.
pub(super) const PANICKED: u8 = 4;
/// Parent and child are not the same program.
pub(super) const OTHER_VERSION: u8 = 5;
/// The parent is gone, or time is up.
const ABANDONED: u8 = 6;

/// The most that the compiler may write, in bytes: eight times what the largest component that an operator may allow
/// usually becomes.
const OUTPUT_BYTES_MAX: u64 = 2 * 1024 * 1024 * 1024;

/// Descriptors that the compiler may have open; it needs three and a few for its threads.
const FILES_MAX: u64 = 64;

/// How much further back than the server the compiler stands in the queue for the processor: a little, because clients
/// wait for both.
const NICENESS: i32 = 2;

/// Compiles one plugin: the whole life of a compiler process, which [`crate::Compiler::Child`] starts.
///
/// Reads an order and a file from standard input, writes native code to standard output. It is not for people.
pub fn compile_plugin() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err((code, message)) => {
            writeln!(io::stderr(), "{message}").ok();
            ExitCode::from(code)
        }
    }
}

fn run() -> Result<(), (u8, String)> {
    let not_understood = |message: &str| (NOT_UNDERSTOOD, message.to_owned());
    let mut input = io::stdin().lock();
    if io::stdin().is_terminal() {
        return Err(not_understood("the server starts this by itself; there is nothing to type"));
    }
    let mut line = String::new();
    (&mut input)
        .take(LINE_BYTES_MAX)
        .read_line(&mut line)
        .map_err(|error| not_understood(&format!("no order: {error}")))?;
    let order: Order = serde_json::from_str(&line)
        .map_err(|error| not_understood(&format!("no order: {error}")))?;
    limit(&order).map_err(|error| not_understood(&format!("the limits cannot be set: {error}")))?;
    // Panics are told by the exit code and one line, not by a trace.
    std::panic::set_hook(Box::new(|_| {}));
    let mut bytes = Vec::new();
    let read = (&mut input).take(order.input_bytes).read_to_end(&mut bytes);
    drop(input);
    if !matches!(read, Ok(length) if length as u64 == order.input_bytes) {
        return Err((ABANDONED, "the file did not arrive".to_owned()));
    }
    end_with_the_parent(Duration::from_secs(order.life_s));
    let made = match order.work {
        Work::Encode => encode(&bytes),
        Work::Compile => {
            let engine = compiler_engine(&order.compatibility)
                .map_err(|message| (OTHER_VERSION, message))?;
            compile(&engine, &bytes)
        }
    };
    let made = made.map_err(|error| match error {
        CompileError::Refused { message } => (REFUSED, message),
        CompileError::Panicked { message } => (PANICKED, message),
        other => (PANICKED, other.to_string()),
    })?;
    let mut output = io::stdout().lock();
    output
        .write_all(&made)
        .and_then(|()| output.flush())
        .map_err(|error| (ABANDONED, format!("the result cannot be written: {error}")))
}

/// Takes away everything that the work does not need. Nothing of the file has been looked at yet.
fn limit(order: &Order) -> io::Result<()> {
    let set = |resource, soft: u64, hard: u64| {
        setrlimit(resource, Rlimit { current: Some(soft), maximum: Some(hard) })
    };
    set(Resource::Core, 0, 0)?;
    set(Resource::Fsize, OUTPUT_BYTES_MAX, OUTPUT_BYTES_MAX)?;
    set(Resource::Nofile, FILES_MAX, FILES_MAX)?;
    set(Resource::As, order.memory_bytes_max, order.memory_bytes_max)?;
    // The first limit is told from a kill by its signal; the second one cannot be survived.
    set(Resource::Cpu, order.cpu_s, order.cpu_s + 1)?;
    rustix::process::nice(NICENESS)?;
    Ok(())
}

/// Ends this process when standard input ends, because its parent holds the other end, or when time is up.
fn end_with_the_parent(life: Duration) {
    let watch = |name: &str, work: Box<dyn FnOnce() + Send>| {
        std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            work();
            std::process::exit(i32::from(ABANDONED));
        })
    };
    let parent = Box::new(|| {
        io::copy(&mut io::stdin().lock(), &mut io::sink()).ok();
    });
    // Without these threads the parent's own deadline still ends the work.
    watch("parent", parent).ok();
    watch("life", Box::new(move || std::thread::sleep(life))).ok();
}
