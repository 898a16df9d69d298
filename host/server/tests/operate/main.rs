//! What operators do with the real program: measure, import and export, back up, restore, and run out of disk.

mod audit;
mod backup;
mod full_disk;
mod guide;
mod harness;
mod metrics;
mod transfer;
