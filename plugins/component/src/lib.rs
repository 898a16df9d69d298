//! What a component consists of: its files, its compose files, Dockerfiles and manifests, and what its sources say
//! about routes. Read once per call, within limits, for the patterns that look at whole components.

mod image;
mod inventory;
mod routes;
mod scope;
mod walk;

pub use image::{Tools, built_stage, service_dockerfile, service_tools, stage_tools};
pub use inventory::{Docker, Document, Inventory, Unreadable, at_node, at_position};
pub use routes::{HEALTH_PATHS, Routes};
pub use scope::{Scope, Suppression};
