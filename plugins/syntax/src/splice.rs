//! Changes to a text as byte ranges and what stands there instead. Everything outside the ranges stays as it is.

use std::ops::Range;

use thiserror::Error;

/// Bytes `[start, end)` of a text, and what stands there instead.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Splice {
    /// First byte.
    pub start: usize,
    /// The byte after the last one; the same as `start` to insert.
    pub end: usize,
    /// What stands there instead.
    pub text: String,
}

impl Splice {
    /// Builds a splice that puts text in front of a byte and removes nothing.
    pub fn insert(at: usize, text: impl Into<String>) -> Self {
        Splice { start: at, end: at, text: text.into() }
    }

    /// Builds a splice that replaces a range.
    pub fn replace(range: Range<usize>, text: impl Into<String>) -> Self {
        Splice { start: range.start, end: range.end, text: text.into() }
    }
}

/// Why splices cannot be applied to a text.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SpliceError {
    /// A range does not lie in the text.
    #[error(
        "the range {start}..{end} does not lie in a text of {length} bytes on character boundaries"
    )]
    OutOfText {
        /// First byte.
        start: usize,
        /// The byte after the last one.
        end: usize,
        /// Length of the text.
        length: usize,
    },
    /// Two ranges touch the same bytes, or insert at the same place.
    #[error("the splices at {first} and {second} overlap")]
    Overlap {
        /// Where the first begins.
        first: usize,
        /// Where the second begins.
        second: usize,
    },
}

/// Returns the text with all splices applied. Their order does not matter; positions are those of `text`.
///
/// # Errors
/// [`SpliceError::OutOfText`] and [`SpliceError::Overlap`], for the first pair in question.
pub fn apply(text: &str, splices: &[Splice]) -> Result<String, SpliceError> {
    let mut ordered: Vec<&Splice> = splices.iter().collect();
    ordered.sort_by_key(|splice| (splice.start, splice.end));
    let mut result = String::with_capacity(text.len());
    let mut done = 0;
    let mut previous: Option<&Splice> = None;
    for splice in ordered {
        let inside = splice.start <= splice.end
            && text.is_char_boundary(splice.start)
            && text.is_char_boundary(splice.end);
        if !inside {
            let length = text.len();
            return Err(SpliceError::OutOfText { start: splice.start, end: splice.end, length });
        }
        if let Some(before) = previous
            && (splice.start < before.end || splice.start == before.start)
        {
            return Err(SpliceError::Overlap { first: before.start, second: splice.start });
        }
        result.push_str(&text[done..splice.start]);
        result.push_str(&splice.text);
        done = splice.end;
        previous = Some(splice);
    }
    result.push_str(&text[done..]);
    Ok(result)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splices_apply_in_any_order() {
        let splices =
            [Splice::replace(4..5, "E"), Splice::insert(0, "<"), Splice::replace(1..3, "")];
        assert_eq!(apply("abcdef", &splices), Ok("<adEf".to_owned()));
    }

    #[test]
    fn overlaps_and_ranges_outside_are_refused() {
        let overlap = apply("abc", &[Splice::insert(1, "x"), Splice::insert(1, "y")]);
        assert_eq!(overlap, Err(SpliceError::Overlap { first: 1, second: 1 }));
        let outside = apply("é", &[Splice::insert(1, "x")]);
        assert_eq!(outside, Err(SpliceError::OutOfText { start: 1, end: 1, length: 2 }));
    }
}
