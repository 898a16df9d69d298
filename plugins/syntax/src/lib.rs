//! Reads the files that components are described by, and says where everything stands in them.
//!
//! Every reader keeps byte positions, never writes a file from what it parsed, and holds its own against hostile
//! input: sizes, depths and counts have named limits, and nothing here panics, reads a clock or touches a disk. Text
//! is changed by [`splice::Splice`]s alone, so whatever is not replaced stays byte for byte as it was.

pub mod compose;
pub mod dockerfile;
pub mod dotenv;
pub mod image;
pub mod kubernetes;
pub mod position;
pub mod project;
pub mod splice;
pub mod yaml;
