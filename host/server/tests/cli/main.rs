//! The command line, as the built program: what it writes, and how it ends.

mod harness;
mod held;
mod run;
mod surface;
