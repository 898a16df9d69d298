//! The macro of the other kind.

use caelum_sdk::*;

struct Gate;

impl Validator for Gate {
    type Parameters = ();
    const ABOUT: About = about!("my-gate", "My gate", "Judges.");
    fn judge(_: &Evidence, _: &dyn Target, _: &Self::Parameters) -> Result<Verdict, PluginError> {
        Ok(Verdict::pass("fine"))
    }
}

export_pattern!(Gate);

fn main() {}
