//! The pure model of Caelum workflows.
//!
//! Data in, data out: this crate has no async code, reads no clock, opens no file and starts no thread. Numbers that a
//! policy decides arrive as arguments. Everything that happens to an execution is an [`workflow::Event`] (a stored
//! fact); everything that should be done about it is a [`workflow::Effect`] (never stored).
//!
//! | module | what lives there |
//! |---|---|
//! | [`clock`] | timestamps, and the trait through which the shell tells the time |
//! | [`id`] | names and identifiers, parsed once at the edge |
//! | [`workflow`] | definitions, the graph, executions and their state machine |
//! | [`task`] | what to run on one machine, and how work spreads over machines |
//! | [`pattern`] | assessments, plans, edits and applications of improvement patterns |
//! | [`finding`] | what a plugin has to say about a component |
//! | [`evidence`] | what a gate judges, and the verdict |
//! | [`plugin`] | what a plugin says about itself, and how a call of it may end |
//! | [`causes`] | errors in one line |
//! | [`tree`] | the read-only tree of files that plugins see |
//! | [`meter`] | distributions that are counted while work goes on |
//! | [`near`] | near names for "did you mean" |

pub mod causes;
pub mod clock;
pub mod evidence;
pub mod finding;
pub mod id;
pub mod meter;
pub mod near;
pub mod pattern;
pub mod plugin;
pub mod task;
pub mod tree;
pub mod workflow;
