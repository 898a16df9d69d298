//! Where host calls leave the crate: to the imports in WebAssembly, to a record of this thread natively, where imports
//! do not exist. No other module names the imported functions.

#[cfg(target_arch = "wasm32")]
pub(crate) use guest::{HostTarget, is_cancelled, log, progress};
#[cfg(not(target_arch = "wasm32"))]
pub(crate) use native::{is_cancelled, log, progress, with_record};

#[cfg(target_arch = "wasm32")]
mod guest {
    use crate::bindings::pattern::caelum::plugin::{control, log as imported, target};
    use crate::log::Level;
    use crate::target::{Entry, Kind, Target, TargetError, TargetErrorCode};

    /// The tree of the current call, read through the host. It holds nothing; the call is the scope.
    pub(crate) struct HostTarget;

    impl Target for HostTarget {
        fn entries(&self, path: &str) -> Result<Vec<Entry>, TargetError> {
            target::entries(path).map(entries).map_err(|code| error(path, code))
        }

        fn glob(&self, pattern: &str, limit: u32) -> Result<Vec<Entry>, TargetError> {
            target::glob(pattern, limit).map(entries).map_err(|code| error(pattern, code))
        }

        fn read(&self, path: &str, offset: u64, length: u32) -> Result<Vec<u8>, TargetError> {
            target::read(path, offset, length).map_err(|code| error(path, code))
        }

        fn read_text(&self, path: &str) -> Result<String, TargetError> {
            target::read_text(path).map_err(|code| error(path, code))
        }
    }

    fn entries(entries: Vec<target::Entry>) -> Vec<Entry> {
        let kind = |kind| match kind {
            target::Kind::File => Kind::File,
            target::Kind::Directory => Kind::Directory,
            target::Kind::Symlink => Kind::Symlink,
            target::Kind::Other => Kind::Other,
        };
        entries
            .into_iter()
            .map(|entry| Entry { path: entry.path, kind: kind(entry.kind), size: entry.size })
            .collect()
    }

    fn error(path: &str, code: target::ErrorCode) -> TargetError {
        let code = match code {
            target::ErrorCode::NotFound => TargetErrorCode::NotFound,
            target::ErrorCode::Denied => TargetErrorCode::Denied,
            target::ErrorCode::NotAFile => TargetErrorCode::NotAFile,
            target::ErrorCode::NotADirectory => TargetErrorCode::NotADirectory,
            target::ErrorCode::NotUtf8 => TargetErrorCode::NotUtf8,
            target::ErrorCode::BudgetExceeded => TargetErrorCode::BudgetExceeded,
            target::ErrorCode::Io(message) => TargetErrorCode::Io(message),
        };
        TargetError::new(path, code)
    }

    pub(crate) fn log(level: Level, message: &str, fields: &[(&str, &str)]) {
        let level = match level {
            Level::Trace => imported::Level::Trace,
            Level::Debug => imported::Level::Debug,
            Level::Info => imported::Level::Info,
            Level::Warn => imported::Level::Warn,
            Level::Error => imported::Level::Error,
        };
        let fields: Vec<(String, String)> =
            fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        imported::log(level, message, &fields);
    }

    pub(crate) fn is_cancelled() -> bool {
        control::is_cancelled()
    }

    pub(crate) fn progress(done: u32, total: Option<u32>, message: &str) {
        control::progress(done, total, message);
    }
}

#[cfg(not(target_arch = "wasm32"))]
mod native {
    use std::cell::RefCell;

    use crate::log::{Level, LogLine};

    /// What a plugin told the host on this thread, and what the host would tell it.
    #[derive(Debug, Default)]
    pub(crate) struct Recorded {
        pub(crate) lines: Vec<LogLine>,
        pub(crate) progress: Vec<(u32, Option<u32>, String)>,
        pub(crate) cancelled: bool,
    }

    thread_local! {
        // Per thread, because the test harness runs each test on its own.
        static RECORD: RefCell<Recorded> = RefCell::new(Recorded::default());
    }

    pub(crate) fn with_record<R>(use_it: impl FnOnce(&mut Recorded) -> R) -> R {
        RECORD.with(|record| use_it(&mut record.borrow_mut()))
    }

    pub(crate) fn log(level: Level, message: &str, fields: &[(&str, &str)]) {
        let fields =
            fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let line = LogLine { level, message: message.to_owned(), fields };
        with_record(|record| record.lines.push(line));
    }

    pub(crate) fn is_cancelled() -> bool {
        with_record(|record| record.cancelled)
    }

    pub(crate) fn progress(done: u32, total: Option<u32>, message: &str) {
        with_record(|record| record.progress.push((done, total, message.to_owned())));
    }
}
