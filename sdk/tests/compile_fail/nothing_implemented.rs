//! A type that is neither.

struct Gate;

caelum_sdk::export_validator!(Gate);

fn main() {}
