//! What the disk can do by itself: the limit of everything that is made durable one after the other.

use std::fs::File;
use std::io::Write;
use std::time::{Duration, Instant};

use crate::Figures;

/// How long it is measured.
const SPAN: Duration = Duration::from_secs(2);

/// A page of the write-ahead log.
const PAGE: [u8; 4_096] = [7; 4_096];

/// Appends pages to a file and makes each durable before the next.
pub(crate) fn measure(figures: &mut Figures) {
    if !figures.wanted("disk_commits_per_s") {
        return;
    }
    let data = tempfile::TempDir::new().expect("a directory");
    let mut file = File::create(data.path().join("pages")).expect("a file");
    let began = Instant::now();
    let mut commits = 0_u32;
    while began.elapsed() < SPAN {
        file.write_all(&PAGE).expect("there is room");
        file.sync_data().expect("the disk obeys");
        commits += 1;
    }
    figures.add("disk_commits_per_s", f64::from(commits) / began.elapsed().as_secs_f64());
}
