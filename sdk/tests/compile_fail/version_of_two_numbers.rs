//! A version that is none.

use caelum_sdk::*;

struct Gate;

impl Validator for Gate {
    type Parameters = ();
    const ABOUT: About =
        About { id: "my-gate", version: "1.0", title: "My gate", summary: "Judges.", licence: "MIT" };
    fn judge(_: &Evidence, _: &dyn Target, _: &Self::Parameters) -> Result<Verdict, PluginError> {
        Ok(Verdict::pass("fine"))
    }
}

export_validator!(Gate);

fn main() {}
