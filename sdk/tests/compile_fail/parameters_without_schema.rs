//! Parameters that do not say what they are.

use caelum_sdk::*;

#[derive(serde::Deserialize)]
struct Parameters {}

struct Gate;

impl Validator for Gate {
    type Parameters = Parameters;
    const ABOUT: About = about!("my-gate", "My gate", "Judges.");
    fn judge(_: &Evidence, _: &dyn Target, _: &Self::Parameters) -> Result<Verdict, PluginError> {
        Ok(Verdict::pass("fine"))
    }
}

export_validator!(Gate);

fn main() {}
