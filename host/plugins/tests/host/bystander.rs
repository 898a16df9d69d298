//! Another client: while a test does its worst, it asks for something small again and again, on the thread that the
//! test's calls are made from, and at the end the slowest answer is judged. Knows nothing of plugins.
//!
//! A busy machine makes everything late, and that is nobody's fault here. So only such time counts in which the machine
//! was ours: time in which the thread that answers stood in the queue for a processor (the system counts it) is taken
//! off, and so is a pause that the client itself was held up by, who does nothing but look at the clock.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc as channel;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

/// How long an answer may take.
const ANSWERED_WITHIN: Duration = Duration::from_millis(100);

/// The same where the system does not say how long a thread stood in the queue.
const ANSWERED_WITHIN_AT_A_GUESS: Duration = Duration::from_secs(1);

/// How often the client looks whether it has been answered: short beside what is measured.
const STEP: Duration = Duration::from_millis(5);

/// How much longer than it should a step has to be for the machine to have stood still.
const PAUSE: Duration = Duration::from_millis(20);

/// How long an answer is waited for at all.
const PATIENCE: Duration = Duration::from_secs(120);

/// How often an answer is handed on from task to task before it is there, as a call over a connection is: read, parsed,
/// dispatched, answered, encoded, written. A guest that ran on the thread that answers would give way only at each tick
/// of the engine's clock, and each handing on would wait for one.
const HANDED_ON: usize = 16;

/// A client's question: where the answer goes.
type Ask = channel::Sender<Instant>;

/// A client that asks for as long as this lives, and the thread on which it is answered. Dropping it judges the answers.
pub(crate) struct Bystander {
    handle: Handle,
    stop: Arc<AtomicBool>,
    client: Option<JoinHandle<Answers>>,
    front: Option<JoinHandle<()>>,
}

/// What the client has seen.
#[derive(Debug, Default)]
struct Answers {
    count: usize,
    /// The longest that an answer took which the machine is not to blame for.
    slowest: Duration,
    is_exact: bool,
}

impl Bystander {
    /// Starts to ask. `answer` is what is done for each question.
    pub(crate) fn start(answer: impl Fn() + Send + Sync + 'static) -> Self {
        let (asks, mut asked) = mpsc::unbounded_channel::<Ask>();
        let (tell, told) = channel::channel();
        let front = move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime can be made");
            tell.send((runtime.handle().clone(), queue_of_this_thread()))
                .expect("it is waited for");
            let answer = Arc::new(answer);
            runtime.block_on(async {
                while let Some(ask) = asked.recv().await {
                    let answer = Arc::clone(&answer);
                    tokio::spawn(async move {
                        for _ in 0..HANDED_ON {
                            tokio::spawn(async {}).await.expect("nothing in it can break down");
                        }
                        answer();
                        ask.send(Instant::now()).ok();
                    });
                }
            });
        };
        let front = std::thread::Builder::new().name("front".to_owned()).spawn(front);
        let front = Some(front.expect("a thread can be started"));
        let (handle, queue) = told.recv().expect("the thread has begun");
        let stop = Arc::new(AtomicBool::new(false));
        let client = {
            let stop = Arc::clone(&stop);
            std::thread::Builder::new()
                .name("bystander".to_owned())
                .spawn(move || ask_on(&asks, queue.as_deref(), &stop))
        };
        Bystander { handle, stop, client: Some(client.expect("a thread can be started")), front }
    }

    /// Does something on the thread that answers, as a server does what its clients ask for. Dropping the future ends it.
    pub(crate) async fn serve<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> T {
        match AbortOnDropHandle::new(self.handle.spawn(work)).await {
            Ok(done) => done,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }
}

impl Drop for Bystander {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        let answers = self.client.take().map(JoinHandle::join);
        // Without a client that asks, the thread ends.
        let front = self.front.take().map(JoinHandle::join);
        if std::thread::panicking() {
            return;
        }
        let answers = answers.expect("it is taken once").expect("the client was answered");
        assert!(front.is_some_and(|front| front.is_ok()), "the thread that answers broke down");
        let limit = if answers.is_exact { ANSWERED_WITHIN } else { ANSWERED_WITHIN_AT_A_GUESS };
        assert!(
            answers.slowest < limit,
            "another client waited {:?} for one of its {} answers; at most {limit:?} are allowed",
            answers.slowest,
            answers.count,
        );
    }
}

/// The life of the client: asks until it is stopped, and at least once.
fn ask_on(asks: &mpsc::UnboundedSender<Ask>, queue: Option<&Path>, stop: &AtomicBool) -> Answers {
    let mut answers = Answers { is_exact: queue.is_some(), ..Answers::default() };
    loop {
        let last = stop.load(Ordering::SeqCst);
        let queued_before = queue.map_or(Duration::ZERO, queued);
        let (answer, answered) = channel::channel();
        let asked = Instant::now();
        asks.send(answer).expect("the thread that answers is there");
        let (answered, paused) = wait_for(&answered, asked);
        let queued = queue.map_or(Duration::ZERO, queued).saturating_sub(queued_before);
        let took = answered.saturating_duration_since(asked);
        answers.slowest = answers.slowest.max(took.saturating_sub(queued + paused));
        answers.count += 1;
        if last {
            return answers;
        }
        std::thread::sleep(STEP);
    }
}

/// Waits in small steps. Returns when the answer was there, and how long the machine stood still meanwhile.
fn wait_for(answered: &channel::Receiver<Instant>, asked: Instant) -> (Instant, Duration) {
    let mut paused = Duration::ZERO;
    loop {
        let begun = Instant::now();
        match answered.recv_timeout(STEP) {
            Ok(at) => return (at, paused),
            Err(channel::RecvTimeoutError::Timeout) => {
                let late = begun.elapsed().saturating_sub(STEP);
                if late >= PAUSE {
                    paused += late;
                }
            }
            Err(channel::RecvTimeoutError::Disconnected) => panic!("a question got no answer"),
        }
        assert!(asked.elapsed() < PATIENCE, "another client is not answered any more");
    }
}

/// Where the system tells how long this thread stood in the queue for a processor, when it does.
fn queue_of_this_thread() -> Option<PathBuf> {
    let thread = fs::read_link("/proc/thread-self").ok()?;
    let path = Path::new("/proc").join(thread).join("schedstat");
    fs::metadata(&path).is_ok().then_some(path)
}

/// How long a thread stood in the queue for a processor so far.
fn queued(path: &Path) -> Duration {
    let text = fs::read_to_string(path).unwrap_or_default();
    let queued = text.split_whitespace().nth(1).and_then(|nanoseconds| nanoseconds.parse().ok());
    queued.map_or(Duration::ZERO, Duration::from_nanos)
}
