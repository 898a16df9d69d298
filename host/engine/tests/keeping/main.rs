//! What is kept, for how long, and what goes elsewhere: retention, backups, imports, and what is counted meanwhile.

mod backups;
mod counted;
mod harness;
mod imports;
mod limits;
mod retained;
