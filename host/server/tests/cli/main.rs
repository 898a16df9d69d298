//! The command line, as the built program: what it writes, and how it ends.

mod demo;
mod harness;
mod held;
mod install;
mod lists;
mod run;
mod surface;
