//! Keeps the beginning and the end of what a program writes, in memory that does not grow with it, and the last line
//! that could be its outputs.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use caelum_core::task::Output;
use memchr::{memchr, memmem, memrchr};
use serde::de::IgnoredAny;

/// One output stream while it is read.
#[derive(Debug)]
pub(crate) struct Capture {
    head_max: usize,
    tail_max: usize,
    head: Vec<u8>,
    tail: VecDeque<u8>,
    total: u64,
    lines: Option<LastObject>,
}

impl Capture {
    /// Keeps the first `head_max` and the last `tail_max` bytes.
    pub(crate) fn new(head_max: usize, tail_max: usize) -> Self {
        Capture { head_max, tail_max, head: vec![], tail: VecDeque::new(), total: 0, lines: None }
    }

    /// Also keeps the last line of at most `line_max` bytes that is a JSON object.
    pub(crate) fn with_last_object(mut self, line_max: usize) -> Self {
        self.lines = Some(LastObject { line: vec![], line_max, hopeless: false, last: None });
        self
    }

    /// Takes what was read next.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.total += bytes.len() as u64;
        if let Some(lines) = &mut self.lines {
            lines.push(bytes);
        }
        let to_head = bytes.len().min(self.head_max - self.head.len());
        self.head.extend_from_slice(&bytes[..to_head]);
        let rest = &bytes[to_head..];
        let rest = &rest[rest.len().saturating_sub(self.tail_max)..];
        let overflow = (self.tail.len() + rest.len()).saturating_sub(self.tail_max);
        self.tail.drain(..overflow);
        self.tail.extend(rest);
    }

    /// Returns what is kept so far.
    pub(crate) fn output(&self) -> Output {
        let (first, second) = self.tail.as_slices();
        let kept = (self.head.len() + self.tail.len()) as u64;
        if kept == self.total {
            let whole = [self.head.as_slice(), first, second].concat();
            return Output {
                text: String::from_utf8_lossy(&whole).into_owned(),
                total_bytes: self.total,
                truncated: false,
            };
        }
        let tail = [first, second].concat();
        let head = &self.head[..whole_characters(&self.head)];
        let tail = &tail[broken_start(&tail)..];
        let left_out = self.total - (head.len() + tail.len()) as u64;
        let text = format!(
            "{}\n… {left_out} bytes left out …\n{}",
            String::from_utf8_lossy(head),
            String::from_utf8_lossy(tail)
        );
        Output { text, total_bytes: self.total, truncated: true }
    }

    /// Returns the last line that is a JSON object, the unfinished one at the end included.
    pub(crate) fn last_object(&mut self) -> Option<String> {
        let lines = self.lines.as_mut()?;
        lines.end_line();
        lines.last.clone()
    }
}

/// Length of `bytes` without a character that was cut off at its end.
fn whole_characters(bytes: &[u8]) -> usize {
    let from = bytes.len().saturating_sub(3);
    match std::str::from_utf8(&bytes[from..]) {
        Err(error) if error.error_len().is_none() => from + error.valid_up_to(),
        // `from` may lie within a character; then the end is found from the next one that begins.
        Err(_) => (from..bytes.len())
            .find(|start| bytes[*start] & 0xC0 != 0x80)
            .and_then(|start| match std::str::from_utf8(&bytes[start..]) {
                Err(error) if error.error_len().is_none() => Some(start + error.valid_up_to()),
                _ => None,
            })
            .unwrap_or(bytes.len()),
        Ok(_) => bytes.len(),
    }
}

/// Length of what is left of a character that was cut off before `bytes`.
fn broken_start(bytes: &[u8]) -> usize {
    let continues = bytes.iter().take(4).take_while(|byte| **byte & 0xC0 == 0x80).count();
    if continues == 4 { 0 } else { continues }
}

/// Finds the last line that is a JSON object. A line is looked at only when it begins with `{`, so that a flood of
/// anything else costs one search for that byte.
#[derive(Debug)]
struct LastObject {
    /// The unfinished line at the end, as long as it is a candidate.
    line: Vec<u8>,
    line_max: usize,
    /// Whether the unfinished line is none: too long, or begun with something else.
    hopeless: bool,
    last: Option<String>,
}

impl LastObject {
    fn push(&mut self, bytes: &[u8]) {
        let Some(first_end) = memchr(b'\n', bytes) else {
            return self.extend(bytes);
        };
        self.extend(&bytes[..first_end]);
        self.end_line();
        let last_end = memrchr(b'\n', bytes).unwrap_or(first_end);
        // Whole lines, each with the newline before it; from the end, because the last object counts.
        let mut lines = &bytes[first_end..last_end];
        while let Some(start) = memmem::rfind(lines, b"\n{") {
            let line = &lines[start + 1..];
            let line = &line[..memchr(b'\n', line).unwrap_or(line.len())];
            if line.len() <= self.line_max
                && let Some(object) = object(line)
            {
                self.last = Some(object);
                break;
            }
            lines = &lines[..start];
        }
        self.extend(&bytes[last_end + 1..]);
    }

    fn extend(&mut self, bytes: &[u8]) {
        let begins_wrong = self.line.is_empty() && bytes.first().is_some_and(|byte| *byte != b'{');
        if self.hopeless || begins_wrong || self.line.len() + bytes.len() > self.line_max {
            self.hopeless = true;
            self.line.clear();
        } else {
            self.line.extend_from_slice(bytes);
        }
    }

    fn end_line(&mut self) {
        if !self.hopeless
            && let Some(object) = object(&self.line)
        {
            self.last = Some(object);
        }
        self.line.clear();
        self.hopeless = false;
    }
}

fn object(line: &[u8]) -> Option<String> {
    let line = line.trim_ascii_end();
    let braces = line.first() == Some(&b'{') && line.last() == Some(&b'}');
    if !braces || serde_json::from_slice::<IgnoredAny>(line).is_err() {
        return None;
    }
    std::str::from_utf8(line).ok().map(str::to_owned)
}

/// Both output streams of a running program. Shared by the one who reads the pipes and by whoever asks for the output
/// so far; a lock and not a channel, because only the present state is of interest.
#[derive(Debug)]
pub(crate) struct Streams {
    stdout: Mutex<Capture>,
    stderr: Mutex<Capture>,
}

impl Streams {
    pub(crate) fn new(stdout: Capture, stderr: Capture) -> Self {
        Streams { stdout: Mutex::new(stdout), stderr: Mutex::new(stderr) }
    }

    pub(crate) fn stdout(&self) -> MutexGuard<'_, Capture> {
        self.stdout.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn stderr(&self) -> MutexGuard<'_, Capture> {
        self.stderr.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn captured(head: usize, tail: usize, pieces: &[&[u8]]) -> Output {
        let mut capture = Capture::new(head, tail);
        for piece in pieces {
            capture.push(piece);
        }
        capture.output()
    }

    #[test]
    fn output_at_the_limit_is_whole_and_one_byte_more_is_cut() {
        assert_eq!(captured(3, 3, &[b"abcdef"]).text, "abcdef");
        assert_eq!(
            captured(3, 3, &[b"abcdefg"]),
            Output {
                text: "abc\n… 1 bytes left out …\nefg".to_owned(),
                total_bytes: 7,
                truncated: true
            }
        );
    }

    #[test]
    fn pieces_of_any_size_give_the_same_text() {
        let whole: Vec<u8> = (0..200).map(|byte| b'a' + byte % 26).collect();
        let expected = captured(16, 16, &[&whole]);

        for size in [1, 3, 15, 16, 17, 33, 100] {
            let pieces: Vec<&[u8]> = whole.chunks(size).collect();
            assert_eq!(captured(16, 16, &pieces), expected, "{size}");
        }
    }

    #[test]
    fn a_cut_never_breaks_a_character() {
        let text = "äöü€😀".repeat(40);

        for limit in 4..24 {
            let output = captured(limit, limit, &[text.as_bytes()]);
            assert!(!output.text.contains('\u{fffd}'), "{limit}: {}", output.text);
            assert!(output.truncated);
        }
    }

    #[test]
    fn binary_output_stays_bounded() {
        let output = captured(32 * 1024, 32 * 1024, &[&vec![0xff; 1024 * 1024]]);

        assert!(output.text.len() < 256 * 1024);
        assert_eq!(output.total_bytes, 1024 * 1024);
    }

    #[test]
    fn the_last_object_is_found_among_other_lines() {
        let mut capture = Capture::new(8, 8).with_last_object(64);
        capture.push(b"{\"a\":1}\nnoise {\n{\"b\"");
        capture.push(b":2}  \r\n{broken}\n[1]\ndone\n");

        assert_eq!(capture.last_object().as_deref(), Some("{\"b\":2}"));
    }

    #[test]
    fn the_last_object_is_the_same_whichever_way_the_pieces_are_cut() {
        let text = "{\"a\":1}\nnoise\n\n{\"b\":2}\r\n{\"broken\n {\"indented\":3}\nx{}\nend";
        for size in 1..text.len() {
            let mut capture = Capture::new(8, 8).with_last_object(16);
            text.as_bytes().chunks(size).for_each(|piece| capture.push(piece));
            assert_eq!(capture.last_object().as_deref(), Some("{\"b\":2}"), "{size}");
        }
    }

    #[test]
    fn the_last_object_needs_no_newline_and_has_a_limit() {
        let mut capture = Capture::new(8, 8).with_last_object(16);
        capture.push(b"{\"a\":1}\n{\"long\":\"xxxxxxxxxxxxxx\"}");
        assert_eq!(capture.last_object().as_deref(), Some("{\"a\":1}"));

        capture.push(b"\n{\"b\":2}");
        assert_eq!(capture.last_object().as_deref(), Some("{\"b\":2}"));
    }
}
