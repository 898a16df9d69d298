//! A long export while it is handed out in parts: all parts are of one text, which is written once.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::time::Instant;

use super::ExportFormat;

/// How long an export is kept after its last part was asked for; a client that reads it asks for the next at once.
const KEPT_FOR: Duration = Duration::from_secs(120);

/// The longest text that is kept, in bytes. A longer one is written anew for each part.
const KEPT_BYTES_MAX: usize = 64 * 1024 * 1024;

/// What was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) workflow_id: String,
    pub(super) format: ExportFormat,
    pub(super) include_executions: bool,
}

/// A whole export.
#[derive(Debug)]
pub(super) struct Whole {
    pub(super) asked: Asked,
    pub(super) revision: u32,
    pub(super) executions: usize,
    pub(super) executions_omitted: bool,
    pub(super) digest: String,
    pub(super) text: String,
}

/// Where the last long export is kept. Whoever's place is taken by another has the next part written anew.
#[derive(Debug, Clone)]
pub(super) struct Kept {
    slot: Arc<Slot>,
    kept_for: Duration,
}

type Slot = Mutex<Option<(Arc<Whole>, Instant)>>;

impl Default for Kept {
    fn default() -> Self {
        Kept { slot: Arc::default(), kept_for: KEPT_FOR }
    }
}

impl Kept {
    /// Returns the export of that digest, where it is kept.
    pub(super) fn of(&self, asked: &Asked, digest: &str) -> Option<Arc<Whole>> {
        let slot = lock(&self.slot);
        let (whole, _) = slot.as_ref()?;
        (whole.asked == *asked && whole.digest == digest).then(|| Arc::clone(whole))
    }

    /// Keeps an export that has more parts, for a while from now.
    pub(super) fn keep(&self, whole: &Arc<Whole>) {
        if whole.text.len() > KEPT_BYTES_MAX {
            return;
        }
        let before = lock(&self.slot).replace((Arc::clone(whole), Instant::now()));
        if !before.is_some_and(|(before, _)| Arc::ptr_eq(&before, whole)) {
            let (slot, whole) = (Arc::downgrade(&self.slot), Arc::downgrade(whole));
            tokio::spawn(forget(slot, whole, self.kept_for));
        }
    }

    /// Lets an export go whose last part was handed out.
    pub(super) fn done(&self, whole: &Arc<Whole>) {
        let mut slot = lock(&self.slot);
        if slot.as_ref().is_some_and(|(kept, _)| Arc::ptr_eq(kept, whole)) {
            *slot = None;
        }
    }
}

/// Lets an export go that nobody asks for any more.
async fn forget(slot: Weak<Slot>, whole: Weak<Whole>, kept_for: Duration) {
    loop {
        let until = {
            let Some(slot) = slot.upgrade() else { return };
            let mut slot = lock(&slot);
            let until = match &*slot {
                Some((kept, since)) if Arc::as_ptr(kept) == whole.as_ptr() => *since + kept_for,
                _ => return,
            };
            if until <= Instant::now() {
                *slot = None;
                return;
            }
            until
        };
        tokio::time::sleep_until(until).await;
    }
}

fn lock(slot: &Slot) -> MutexGuard<'_, Option<(Arc<Whole>, Instant)>> {
    slot.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(text: &str) -> Arc<Whole> {
        let asked = Asked {
            workflow_id: "w".to_owned(),
            format: ExportFormat::Json,
            include_executions: true,
        };
        Arc::new(Whole {
            asked,
            revision: 1,
            executions: 0,
            executions_omitted: false,
            digest: text.to_owned(),
            text: text.to_owned(),
        })
    }

    #[tokio::test]
    async fn an_export_that_nobody_asks_for_gives_its_memory_back() {
        let (kept, one) = (Kept { kept_for: Duration::ZERO, ..Kept::default() }, whole("one"));

        kept.keep(&one);

        while kept.of(&one.asked, "one").is_some() {
            tokio::task::yield_now().await;
        }
        assert_eq!(Arc::strong_count(&one), 1);
    }

    #[tokio::test]
    async fn another_export_takes_the_place_and_is_not_ended_with_the_first() {
        let (kept, one, two) = (Kept::default(), whole("one"), whole("two"));
        kept.keep(&one);
        kept.keep(&two);

        kept.done(&one);

        assert!(kept.of(&one.asked, "one").is_none());
        assert!(kept.of(&two.asked, "two").is_some());
        let other = Asked { include_executions: false, ..two.asked.clone() };
        assert!(kept.of(&other, "two").is_none(), "it was asked for otherwise");
    }
}
