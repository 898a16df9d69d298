//! Components on a real file system, through the public door.

mod applying;
mod property;
mod sample;
mod trees;
