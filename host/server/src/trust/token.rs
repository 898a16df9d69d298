//! Bearer tokens: made at first start, kept in a file that only its owner reads, compared in constant time, never shown.

use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use subtle::ConstantTimeEq;

use super::Scope;

/// The shortest token that is accepted, in characters: shorter ones can be guessed.
pub const TOKEN_CHARS_MIN: usize = 24;

/// The name of the token's file in the data directory.
pub const TOKEN_FILE: &str = "token";

/// A token that cannot be used, or a file of one that cannot be trusted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// Too easy to guess.
    #[error(
        "the token has {found} characters, expected at least {TOKEN_CHARS_MIN}; hint: `openssl rand -hex 32` makes a good one"
    )]
    TooShort {
        /// How many it has.
        found: usize,
    },
    /// A token that no header can carry.
    #[error(
        "the token holds a character that a header cannot carry; hint: use letters, digits, `-`, `_` and `.`"
    )]
    Unusable,
    /// Others may read the file.
    #[error("the token file `{}` may be read by others (mode {mode:o}), expected 600; hint: chmod 600 it, or remove it and a new one is made", path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The file cannot be read or made.
    #[error("the token file `{}` cannot be {what}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// `read` or `written`.
        what: &'static str,
        /// Why.
        source: io::Error,
    },
}

/// A bearer token. Its text is only ever compared; no message, log or debug output shows it.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// Takes a token from configuration.
    ///
    /// # Errors
    ///
    /// [`TokenError::TooShort`] and [`TokenError::Unusable`].
    pub fn new(text: impl Into<String>) -> Result<Self, TokenError> {
        let text = text.into();
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(TokenError::Unusable);
        }
        if text.len() < TOKEN_CHARS_MIN {
            return Err(TokenError::TooShort { found: text.len() });
        }
        Ok(Self(text))
    }

    /// Makes a new one: 244 random bits from the operating system.
    pub fn generate() -> Self {
        Self(format!("{}{}", uuid::Uuid::new_v4().simple(), uuid::Uuid::new_v4().simple()))
    }

    /// Returns the token of a data directory, making it when there is none. Once it returns, the file is on disk with
    /// mode 0600; two servers that start at once agree on one token.
    ///
    /// # Errors
    ///
    /// [`TokenError`] when the file cannot be read or made, is readable by others, or holds no usable token.
    pub fn load_or_create(data_dir: &Path) -> Result<Self, TokenError> {
        let path = data_dir.join(TOKEN_FILE);
        match Self::load(&path) {
            Err(TokenError::File { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
            found => return found,
        }
        let token = Self::generate();
        // Written beside and linked into place: nobody ever reads half a token, and the first of two servers wins.
        let beside = data_dir.join(format!("{TOKEN_FILE}.{}", uuid::Uuid::new_v4().simple()));
        let write = || -> io::Result<()> {
            let mut file =
                OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
            writeln!(file, "{}", token.0)?;
            file.sync_all()?;
            fs::hard_link(&beside, &path)
        };
        let written = write();
        fs::remove_file(&beside).ok();
        match written {
            Ok(()) => Ok(token),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Self::load(&path),
            Err(source) => Err(TokenError::File { path, what: "written", source }),
        }
    }

    fn load(path: &Path) -> Result<Self, TokenError> {
        let unreadable = |source| TokenError::File { path: path.to_owned(), what: "read", source };
        let mode = fs::metadata(path).map_err(unreadable)?.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(TokenError::Exposed { path: path.to_owned(), mode });
        }
        Self::new(fs::read_to_string(path).map_err(unreadable)?.trim())
    }

    /// Compares in a time that does not tell how much of `offered` is right.
    pub fn matches(&self, offered: &str) -> bool {
        self.0.as_bytes().ct_eq(offered.as_bytes()).into()
    }

    /// Returns the text, for the one who must hand it to a client: the command line that shows where it is kept.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

/// The tokens a server accepts, each with what it allows.
#[derive(Debug, Clone, Default)]
pub struct Tokens {
    accepted: Vec<(Token, Scope)>,
}

impl Tokens {
    /// Returns no token at all: only the server's own user gets in.
    pub fn none() -> Self {
        Self::default()
    }

    /// Accepts one more token.
    #[must_use]
    pub fn with(mut self, token: Token, scope: Scope) -> Self {
        self.accepted.push((token, scope));
        self
    }

    /// Says whether there is none.
    pub fn is_empty(&self) -> bool {
        self.accepted.is_empty()
    }

    /// Returns what an offered token allows; every accepted one is compared, whichever matches.
    pub fn scope_of(&self, offered: &str) -> Option<Scope> {
        self.accepted.iter().fold(None, |found, (token, scope)| {
            if token.matches(offered) { found.max(Some(*scope)) } else { found }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_made_once_and_kept_for_its_owner_alone() {
        let dir = tempfile::tempdir().unwrap();

        let made = Token::load_or_create(dir.path()).unwrap();
        let read = Token::load_or_create(dir.path()).unwrap();

        let mode = fs::metadata(dir.path().join(TOKEN_FILE)).unwrap().permissions().mode() & 0o777;
        assert_eq!(made, read);
        assert_eq!(mode, 0o600);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing is left beside it");
    }

    #[test]
    fn a_token_file_that_others_read_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        Token::load_or_create(dir.path()).unwrap();
        let path = dir.path().join(TOKEN_FILE);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();

        let error = Token::load_or_create(dir.path()).unwrap_err().to_string();

        assert!(
            error.contains("may be read by others (mode 644), expected 600; hint: chmod 600 it"),
            "{error}"
        );
    }

    #[test]
    fn short_and_unusable_tokens_are_refused_without_being_shown() {
        let short = Token::new("hunter2").unwrap_err().to_string();
        let broken = Token::new("a token with spaces in it, long enough").unwrap_err().to_string();

        assert!(short.starts_with("the token has 7 characters, expected at least 24"), "{short}");
        assert!(!short.contains("hunter2") && !broken.contains("spaces in it"));
        assert_eq!(format!("{:?}", Token::generate()), "Token(…)");
    }

    #[test]
    fn the_widest_scope_of_the_matching_tokens_is_given() {
        let reader = Token::new("reader-reader-reader-reader").unwrap();
        let tokens = Tokens::none().with(reader, Scope::Read).with(Token::generate(), Scope::Admin);

        assert_eq!(tokens.scope_of("reader-reader-reader-reader"), Some(Scope::Read));
        assert_eq!(tokens.scope_of("reader-reader-reader-readeR"), None);
        assert_eq!(tokens.scope_of(""), None);
    }
}
