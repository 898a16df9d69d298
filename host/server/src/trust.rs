//! Who is calling, and what they may do. Proving it (the kernel's socket table, the token) lives in the rooms of this
//! module; asking for the proof is the listener's business.

use std::fmt;

/// What a caller may do; each scope includes those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// Looks, and changes nothing.
    Read,
    /// Changes workflows, runs them, applies patterns.
    Write,
    /// Does what concerns the whole server.
    Admin,
}

impl Scope {
    /// Returns the word used in configuration, messages and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What made a caller trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Proof {
    /// Whoever started the process holds its standard input: the same user.
    Stdio,
    /// The kernel's socket table names the server's own user as the owner of the other end of a loopback connection.
    OwnUser,
    /// A bearer token.
    Token,
    /// The operator said that nobody has to prove anything.
    Unauthenticated,
}

/// The identity of a caller, as the transport proved it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Caller {
    /// What the caller may do.
    pub scope: Scope,
    /// Why the server believes it.
    pub proof: Proof,
}

impl Caller {
    /// Returns the caller behind this process's own standard input, or behind its command line.
    pub fn local() -> Self {
        Self { scope: Scope::Admin, proof: Proof::Stdio }
    }

    /// Says whether the caller may do what `needed` names.
    pub fn may(&self, needed: Scope) -> bool {
        self.scope >= needed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_scope_includes_those_before_it() {
        let writer = Caller { scope: Scope::Write, proof: Proof::Token };

        assert!(writer.may(Scope::Read) && writer.may(Scope::Write) && !writer.may(Scope::Admin));
    }
}
