//! Errors in one line.

use std::error::Error;

/// Writes an error and everything behind it, in one line: `what failed: why: why that`. A cause that the text before it
/// holds already is not said twice.
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let next = cause.to_string();
        if !text.contains(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[derive(Debug, thiserror::Error)]
    enum Failed {
        #[error("the file cannot be read")]
        Told(#[source] io::Error),
        #[error("the file cannot be read: {0}")]
        ToldTwice(#[source] io::Error),
    }

    #[test]
    fn every_cause_is_told_once() {
        let cause = || io::Error::other("the disk is gone");

        for error in [Failed::Told(cause()), Failed::ToldTwice(cause())] {
            assert_eq!(chain(&error), "the file cannot be read: the disk is gone");
        }
    }
}
