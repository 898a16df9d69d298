//! LCOV reports: which source files they name, and how many of their lines have run. Knows nothing of verdicts.

/// How much of a source file has run.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Covered {
    /// The source file, as the report names it.
    pub(crate) source: String,
    /// The line of the report that names it, from 1.
    pub(crate) line: u32,
    /// How many lines there are.
    pub(crate) found: u32,
    /// How many of them have run.
    pub(crate) hit: u32,
}

/// Why a report shows nothing.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    /// A stable code.
    pub(crate) code: &'static str,
    /// What was found.
    pub(crate) message: String,
    /// Where, from 1.
    pub(crate) line: Option<u32>,
}

impl Fault {
    fn malformed(line: u32, message: impl Into<String>) -> Self {
        Self { code: "report-malformed", message: message.into(), line: Some(line) }
    }
}

/// A record whose end has not been seen yet.
#[derive(Default)]
struct Open {
    covered: Covered,
    /// What `LF` and `LH` say; they count more than the lines themselves.
    found: Option<u32>,
    hit: Option<u32>,
}

impl Open {
    fn close(self) -> Result<Covered, Fault> {
        let Self { mut covered, found, hit } = self;
        covered.found = found.unwrap_or(covered.found);
        covered.hit = hit.unwrap_or(covered.hit);
        if covered.hit > covered.found {
            let message = format!(
                "`{}` has {} covered lines of {}",
                covered.source, covered.hit, covered.found
            );
            return Err(Fault::malformed(covered.line, message));
        }
        Ok(covered)
    }
}

/// Reads a report.
///
/// # Errors
/// The first thing that is wrong with it.
pub(crate) fn read(bytes: &[u8]) -> Result<Vec<Covered>, Fault> {
    let Ok(text) = std::str::from_utf8(bytes) else {
        let message = "the report is not UTF-8 text".to_owned();
        return Err(Fault { code: "report-not-text", message, line: None });
    };
    let mut files = Vec::new();
    let mut open: Option<Open> = None;
    for (number, line) in (1..).zip(text.split('\n')) {
        let line = line.strip_suffix('\r').unwrap_or(line);
        if line == "end_of_record" {
            let Some(record) = open.take() else {
                return Err(Fault::malformed(number, "a record ends that never began"));
            };
            files.push(record.close()?);
            continue;
        }
        let Some((key, value)) = line.split_once(':') else { continue };
        if key == "SF" {
            if let Some(open) = &open {
                let message =
                    format!("a record begins before that of line {} has ended", open.covered.line);
                return Err(Fault::malformed(number, message));
            }
            let covered = Covered { source: value.to_owned(), line: number, ..Covered::default() };
            open = Some(Open { covered, ..Open::default() });
        } else if ["LF", "LH", "DA"].contains(&key) {
            let Some(open) = &mut open else {
                return Err(Fault::malformed(number, format!("`{key}` stands outside a record")));
            };
            count(open, key, value)
                .ok_or_else(|| Fault::malformed(number, format!("`{key}` has no number")))?;
        }
    }
    match open {
        Some(open) => Err(Fault {
            code: "report-cut-off",
            message: format!(
                "the record of `{}` has no end: the report is cut off",
                open.covered.source
            ),
            line: Some(open.covered.line),
        }),
        None => Ok(files),
    }
}

/// Takes in what one line counts; nothing when it holds no number.
fn count(open: &mut Open, key: &str, value: &str) -> Option<()> {
    match key {
        "LF" => open.found = Some(number(value)?),
        "LH" => open.hit = Some(number(value)?),
        _ => {
            let hits = value.split(',').nth(1)?;
            open.covered.found += 1;
            open.covered.hit += u32::from(number(hits)? > 0);
        }
    }
    Some(())
}

/// Reads a number of at most nine digits.
fn number(text: &str) -> Option<u32> {
    let digits = !text.is_empty() && text.len() <= 9 && text.bytes().all(|b| b.is_ascii_digit());
    if digits { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_counted_where_the_sums_are_missing() {
        let report = b"TN:\r\nSF:a\r\nDA:1,4\r\nDA:2,0,x\r\nend_of_record\r\n";

        let files = read(report).expect("a report");

        assert_eq!(files, [Covered { source: "a".into(), line: 2, found: 2, hit: 1 }]);
    }

    #[test]
    fn a_fault_says_where_it_is() {
        let fault = |text: &str| {
            let fault = read(text.as_bytes()).expect_err("a fault");
            (fault.code, fault.line)
        };
        assert_eq!(fault("SF:a\nLF:1\n"), ("report-cut-off", Some(1)));
        assert_eq!(fault("SF:a\nSF:b\n"), ("report-malformed", Some(2)));
        assert_eq!(fault("\nLF:1\n"), ("report-malformed", Some(2)));
        assert_eq!(fault("SF:a\nLF:1\nLH:2\nend_of_record\n"), ("report-malformed", Some(1)));
        assert_eq!(fault("SF:a\nLF:1234567890\n"), ("report-malformed", Some(2)));
        assert_eq!(fault("end_of_record"), ("report-malformed", Some(1)));
    }
}
