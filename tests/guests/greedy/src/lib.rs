//! A validator whose memory begins above any sensible limit; the build script asks the linker for it.

use caelum_sdk::{About, Evidence, PluginError, Target, Validator, Verdict, about};

/// Would pass everything, if it were ever instantiated.
pub struct Greedy;

impl Validator for Greedy {
    type Parameters = ();
    const ABOUT: About = about!("greedy", "Greedy", "Begins with 256 MiB of memory.");

    fn judge(_: &Evidence, _: &dyn Target, (): &()) -> Result<Verdict, PluginError> {
        Ok(Verdict::pass("there was enough memory"))
    }
}

caelum_sdk::export_validator!(Greedy);
