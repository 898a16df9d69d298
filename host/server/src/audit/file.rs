//! The files of the audit log: one that is appended to, and those before it, which are put aside by size and kept by
//! number. Only their owner reads them.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use caelum_core::clock::Clock;
use caelum_engine::SystemClock;

use super::Limits;

/// The file that is appended to.
pub(super) const CURRENT: &str = "audit.jsonl";

/// What the files that were put aside begin with; then comes the time.
const ASIDE: &str = "audit-";

/// The files of one log.
#[derive(Debug)]
pub(super) struct AuditFile {
    directory: PathBuf,
    limits: Limits,
    open: Option<(File, u64)>,
}

impl AuditFile {
    pub(super) fn new(directory: PathBuf, limits: Limits) -> Self {
        Self { directory, limits, open: None }
    }

    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Appends whole lines; once it returns, the operating system has them. After an error the file is opened anew, and
    /// half a line that is left there is ended.
    pub(super) fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        let appended = self.try_append(lines);
        if appended.is_err() {
            self.open = None;
        }
        appended
    }

    /// Makes durable what was written, as far as that can be had.
    pub(super) fn sync(&self) {
        if let Some((file, _)) = &self.open
            && let Err(error) = file.sync_data()
        {
            tracing::warn!(%error, "the audit log could not be made durable");
        }
    }

    fn try_append(&mut self, lines: &[u8]) -> io::Result<()> {
        let (mut file, mut bytes) = match self.open.take() {
            Some(open) => open,
            None => self.open()?,
        };
        let more = lines.len() as u64;
        if bytes > 0 && bytes.saturating_add(more) > self.limits.file_bytes_max {
            file.sync_data()?;
            drop(file);
            self.put_aside()?;
            (file, bytes) = self.open()?;
        }
        file.write_all(lines)?;
        self.open = Some((file, bytes.saturating_add(more)));
        Ok(())
    }

    fn open(&self) -> io::Result<(File, u64)> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.directory)?;
        let path = self.directory.join(CURRENT);
        let mut file =
            OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path)?;
        let mut bytes = file.seek(SeekFrom::End(0))?;
        if bytes > 0 {
            let mut last = [0];
            file.seek(SeekFrom::End(-1))?;
            file.read_exact(&mut last)?;
            if last != *b"\n" {
                file.write_all(b"\n")?;
                bytes += 1;
            }
        }
        Ok((file, bytes))
    }

    fn put_aside(&self) -> io::Result<()> {
        let time = SystemClock.now().to_string().replace(':', "-");
        let mut path = self.directory.join(format!("{ASIDE}{time}.jsonl"));
        // Nothing is ever overwritten, whatever becomes of the clock.
        for number in 1.. {
            if !path.exists() {
                break;
            }
            path = self.directory.join(format!("{ASIDE}{time}-{number:04}.jsonl"));
        }
        fs::rename(self.directory.join(CURRENT), path)?;
        self.forget_the_oldest()
    }

    fn forget_the_oldest(&self) -> io::Result<()> {
        // The one that is appended to counts as one of them.
        let Some(keep) = self.limits.files_max.checked_sub(1) else { return Ok(()) };
        let mut aside = Vec::new();
        for entry in fs::read_dir(&self.directory)? {
            let name = entry?.file_name();
            let name = name.to_string_lossy();
            if name.starts_with(ASIDE) && name.ends_with(".jsonl") {
                aside.push(name.into_owned());
            }
        }
        aside.sort();
        let surplus = aside.len().saturating_sub(keep);
        for name in aside.into_iter().take(surplus) {
            fs::remove_file(self.directory.join(name))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn names(directory: &Path) -> Vec<String> {
        let entries = fs::read_dir(directory).unwrap();
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_at_its_size_is_put_aside_and_only_so_many_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        let limits = Limits { file_bytes_max: 8, files_max: 3 };
        let mut file = AuditFile::new(dir.path().join("audit"), limits);

        for line in ["one 4\n", "2\n", "three\n", "four\n", "five\n", "six\n"] {
            file.append(line.as_bytes()).unwrap();
        }

        let names = names(file.directory());
        let read = |name: &String| fs::read_to_string(file.directory().join(name)).unwrap();
        let texts: Vec<String> = names.iter().map(read).collect();
        assert_eq!(texts, ["four\n", "five\n", "six\n"], "{names:?}");
        assert_eq!(names[2], CURRENT);
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&file.directory().join(CURRENT)), 0o600);
        assert_eq!(mode(file.directory()), 0o700);
    }

    #[test]
    fn what_is_there_is_kept_and_half_a_line_is_ended() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(CURRENT), "whole\nha").unwrap();
        let mut file = AuditFile::new(dir.path().to_owned(), Limits::default());

        file.append(b"new\n").unwrap();

        assert_eq!(fs::read_to_string(dir.path().join(CURRENT)).unwrap(), "whole\nha\nnew\n");
    }

    #[test]
    fn a_directory_that_cannot_be_made_is_an_error_each_time_and_mends_itself() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("in-the-way");
        fs::write(&path, "").unwrap();
        let mut file = AuditFile::new(path.clone(), Limits::default());

        let failed = [file.append(b"a\n").is_err(), file.append(b"b\n").is_err()];
        fs::remove_file(&path).unwrap();
        file.append(b"c\n").unwrap();

        assert_eq!(failed, [true, true]);
        assert_eq!(fs::read_to_string(path.join(CURRENT)).unwrap(), "c\n");
    }
}
