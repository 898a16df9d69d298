//! What is kept, for how long, and what goes elsewhere: retention, backups, imports, and what is counted meanwhile.

mod backups;
mod counted;
mod imports;
mod limits;
mod machine;
mod retained;
