//! Stored files of earlier versions, kept for ever: each opens, reads as it did, and what was open in it goes on. What is
//! damaged, or newer than this version, is refused and left as it is.
//!
//! `golden/VERSION/caelum.db` was written by that version and `golden/VERSION/reads.json` says how it reads. A file of
//! this version is written anew with `CAELUM_WRITE_GOLDEN=1`, as long as it is not released.

mod damages;
#[path = "../store/harness.rs"]
#[expect(dead_code, reason = "the harness is shared with tests that need more of it")]
mod harness;
mod read;
mod versions;
mod write;
