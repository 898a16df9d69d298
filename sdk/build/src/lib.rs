//! Builds a Caelum plugin crate into a WebAssembly component with whatever toolchain the machine has.
