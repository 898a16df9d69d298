//! An identity that is not whole.

const ABOUT: caelum_sdk::About = caelum_sdk::about!("my-gate", "My gate");

fn main() {}
