//! An id that breaks the rules of the contract.

use caelum_sdk::*;

struct Gate;

impl Validator for Gate {
    type Parameters = ();
    const ABOUT: About = about!("My Gate", "My gate", "Judges.");
    fn judge(_: &Evidence, _: &dyn Target, _: &Self::Parameters) -> Result<Verdict, PluginError> {
        Ok(Verdict::pass("fine"))
    }
}

export_validator!(Gate);

fn main() {}
