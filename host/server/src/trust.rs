//! Who is calling, and what they may do. Proving it (the kernel's socket table, the token) lives in the rooms of this
//! module; asking for the proof is the listener's business.

pub mod token;

use std::fmt;
use std::net::SocketAddr;

use self::token::Tokens;
use crate::socket_table;

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

impl Scope {
    /// Returns the name that the token of this scope has in the configuration.
    pub fn token_name(self) -> &'static str {
        match self {
            Self::Read => "read_token",
            Self::Write => "write_token",
            Self::Admin => "token",
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

/// Whom calls are counted for: connections of one principal are one caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Principal {
    /// The server's own user.
    User,
    /// Whoever has the token of this scope.
    Token(Scope),
    /// Everybody, where nobody has to prove anything.
    Anyone,
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

    /// Returns whom the caller counts as where something is counted for each caller.
    pub fn principal(&self) -> Principal {
        match self.proof {
            Proof::Stdio | Proof::OwnUser => Principal::User,
            Proof::Token => Principal::Token(self.scope),
            Proof::Unauthenticated => Principal::Anyone,
        }
    }

    /// Says whether the caller may do what `needed` names.
    pub fn may(&self, needed: Scope) -> bool {
        self.scope >= needed
    }
}

/// Whom the server lets in.
#[derive(Debug, Clone)]
pub struct Policy {
    /// The tokens that open the door to everybody who is not the server's own user.
    pub tokens: Tokens,
    /// Lets everybody in who reaches the port, with every scope. Explicit, and warned about.
    pub allow_unauthenticated: bool,
}

impl Policy {
    /// Says who a connection comes from, before a word was exchanged: the server's own user, by the kernel's word on who
    /// owns its other end, or somebody who has yet to show a token. Root is a user like any other: it is trusted by a
    /// server of root's and by no other.
    pub fn recognise(&self, owner: Option<u32>) -> Option<Caller> {
        if self.allow_unauthenticated {
            return Some(Caller { scope: Scope::Admin, proof: Proof::Unauthenticated });
        }
        (owner == Some(rustix::process::geteuid().as_raw()))
            .then_some(Caller { scope: Scope::Admin, proof: Proof::OwnUser })
    }

    /// Says who shows this `Authorization` header.
    pub fn authorize(&self, header: &str) -> Option<Caller> {
        let (scheme, token) = header.split_once(' ')?;
        if !scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        let scope = self.tokens.scope_of(token.trim())?;
        Some(Caller { scope, proof: Proof::Token })
    }
}

/// Returns the user that the other end of a loopback connection belongs to, by the kernel's word; of a connection from
/// elsewhere nothing is known.
///
/// Reads a table of the kernel: call it off the runtime's threads.
pub fn owner_of_peer(peer: SocketAddr, local: SocketAddr) -> Option<u32> {
    let loopback = |address: SocketAddr| address.ip().to_canonical().is_loopback();
    if !loopback(peer) || !loopback(local) {
        return None;
    }
    // The table is asked for the client's socket: its own address is our peer.
    match socket_table::owner_of_connection(peer, local) {
        Ok(owner) => owner,
        Err(error) => {
            tracing::warn!(%error, "the kernel's socket table cannot be read; loopback connections need a token");
            None
        }
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
