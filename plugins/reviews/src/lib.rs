//! Counts review decisions: who may vote, whose vote is current, and what the votes add up to. Used by the validators
//! `manual-review` and `code-review`.
//!
//! A vote counts when it is about exactly what is judged, was cast after the attempt began, and its voter did not do
//! the work. Of several votes of one voter the last counts. A rejection outweighs all approvals.

mod ballot;

pub use ballot::{Ballot, Rules, Standing, Vote, VoteKind, votes_of};
