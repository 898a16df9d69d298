//! The store from outside, against real files: what is promised about durability, order, size and failure.

mod applications;
mod batches;
mod bodies;
mod copies;
mod crash;
mod definitions;
mod files;
mod fold;
mod harness;
mod lists;
mod maps;
mod metrics;
mod retention;
