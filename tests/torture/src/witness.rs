//! The witness: a file outside the server to which effects and callers append a line for everything that really happened,
//! each on disk before its writer goes on. The order of its lines is the order in which things happened.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

/// Appends marks. Every process opens the file for itself; one short write on a file opened for appending stays whole.
#[derive(Debug)]
pub(crate) struct Witness {
    path: PathBuf,
    file: File,
}

impl Witness {
    /// Opens the witness, making the file where it is missing.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().append(true).create(true).open(path)?;
        Ok(Self { path: path.to_owned(), file })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Writes one mark; it is on disk when this returns.
    pub(crate) fn mark(&self, mark: &Mark) -> io::Result<()> {
        (&self.file).write_all(format!("{mark}\n").as_bytes())?;
        self.file.sync_data()
    }

    /// Reads every mark, in order.
    pub(crate) fn marks(path: &Path) -> io::Result<Vec<Mark>> {
        let text = std::fs::read_to_string(path)?;
        Ok(text.lines().map(Mark::read).collect())
    }
}

/// How an effect reaches the world.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Door {
    /// A program that the server started.
    Command,
    /// A request that the server sent.
    Http,
    /// A tool that the server called.
    Tool,
}

/// One run of one piece of work, as whoever did it saw it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Work {
    pub(crate) door: Door,
    pub(crate) execution: String,
    pub(crate) step: String,
    /// The item, where the step goes over a list.
    pub(crate) item: Option<u32>,
    /// Which attempt: the item's own where there is one.
    pub(crate) attempt: u32,
    /// Which delivery; 0 where the door does not tell.
    pub(crate) epoch: u32,
}

/// What a caller asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Asked {
    /// An execution, or a group of tasks, under a key.
    Start,
    /// To take work done by hand.
    Complete,
    /// To take a decision about an unknown outcome: to run it again.
    RunAgain,
    /// To take another decision.
    Decide,
    /// To take a review.
    Review,
    Pause,
    Resume,
    Cancel,
    Retry,
}

/// What a caller heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Heard {
    /// Nothing yet: it is about to ask.
    Asks,
    /// It is done.
    Accepted,
    /// It will not be done.
    Refused,
}

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Mark {
    /// An effect began.
    Begin(Work),
    /// An effect ended.
    End(Work),
    /// A caller asks, or was answered. `by` is said by nobody else; `execution` is `-` where there is none yet.
    Call { asked: Asked, heard: Heard, by: String, execution: String, step: String },
    /// A caller was shown that a step had completed.
    Shown { execution: String, step: String },
    /// A caller was shown how many events an execution had.
    Seen { execution: String, events: u64 },
}

macro_rules! words {
    ($type:ty, $($variant:ident = $word:literal),+) => {
        impl $type {
            fn word(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }

            fn of(word: &str) -> Self {
                match word {
                    $($word => Self::$variant,)+
                    other => panic!("the witness has no word `{other}`"),
                }
            }
        }
    };
}

words!(Door, Command = "command", Http = "http", Tool = "tool");
words!(
    Asked,
    Start = "start",
    Complete = "complete",
    RunAgain = "run_again",
    Decide = "decide",
    Review = "review",
    Pause = "pause",
    Resume = "resume",
    Cancel = "cancel",
    Retry = "retry"
);
words!(Heard, Asks = "asks", Accepted = "accepted", Refused = "refused");

impl Work {
    fn read(fields: &[&str]) -> Self {
        Self {
            door: Door::of(fields[0]),
            execution: fields[1].to_owned(),
            step: fields[2].to_owned(),
            item: fields[3].parse().ok(),
            attempt: fields[4].parse().expect("the witness writes numbers"),
            epoch: fields[5].parse().expect("the witness writes numbers"),
        }
    }
}

impl std::fmt::Display for Work {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { door, execution, step, attempt, epoch, .. } = self;
        let item = self.item.map_or("-".to_owned(), |item| item.to_string());
        write!(f, "{} {execution} {step} {item} {attempt} {epoch}", door.word())
    }
}

impl std::fmt::Display for Mark {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Begin(work) => write!(f, "begin {work}"),
            Self::End(work) => write!(f, "end {work}"),
            Self::Call { asked, heard, by, execution, step } => {
                write!(f, "call {} {} {by} {execution} {step}", asked.word(), heard.word())
            }
            Self::Shown { execution, step } => write!(f, "shown {execution} {step}"),
            Self::Seen { execution, events } => write!(f, "seen {execution} {events}"),
        }
    }
}

impl Mark {
    fn read(line: &str) -> Self {
        let fields: Vec<&str> = line.split(' ').collect();
        match (fields[0], fields.len()) {
            ("begin", 7) => Self::Begin(Work::read(&fields[1..])),
            ("end", 7) => Self::End(Work::read(&fields[1..])),
            ("call", 6) => Self::Call {
                asked: Asked::of(fields[1]),
                heard: Heard::of(fields[2]),
                by: fields[3].to_owned(),
                execution: fields[4].to_owned(),
                step: fields[5].to_owned(),
            },
            ("shown", 3) => {
                Self::Shown { execution: fields[1].to_owned(), step: fields[2].to_owned() }
            }
            ("seen", 3) => Self::Seen {
                execution: fields[1].to_owned(),
                events: fields[2].parse().expect("the witness writes numbers"),
            },
            _ => panic!("the witness has a line that nobody writes: `{line}`"),
        }
    }
}
