//! Runs one task on this machine and reaches other machines through fabrics.
//!
//! | module | what lives there |
//! |---|---|
//! | [`fabric`] | the trait through which the engine reaches machines, and the local machine |
//! | [`command`] | one program from its start to the end of its process group |
//! | [`policy`] | what a command may be, and where its program and directory are |
//! | [`collect`] | files that a command left, kept as evidence |
//! | `request` | one HTTP request and what is expected of its answer |
//! | [`tools`] | tools of other MCP servers |
//! | [`probe`] | facts fetched for gates |
//! | [`orphans`] | what a server that died left running, found again and ended |
//! | [`options`] | every limit of this crate, with its default and reason |
//!
//! What is not here: when and where work is started (the engine and the core decide), and what an outcome means.

mod capture;
pub mod collect;
pub mod command;
pub mod fabric;
mod group;
mod guard;
pub mod options;
pub mod orphans;
mod outputs;
pub mod policy;
pub mod probe;
mod procfs;
mod program;
mod request;
pub mod tools;
mod tree;
mod web;

pub use fabric::{Fabric, LocalFabric, MachineInfo, MachineState, OutputSoFar};
pub use options::MachineOptions;
pub use orphans::{Orphan, reap_orphans};
pub use policy::CommandPolicy;
pub use tools::ToolServer;
