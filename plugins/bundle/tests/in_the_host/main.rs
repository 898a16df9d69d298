//! Runs real components in the real host: the bundled plugins, and the test guests, which are written with the sdk and
//! built by `caelum-plugin-build`. What is wrong between WIT, sdk, build and host shows here.

mod bundled;
mod guests;
mod harness;
mod misdeeds;
mod plans;
