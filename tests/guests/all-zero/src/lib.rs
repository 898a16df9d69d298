//! The smallest validator: what the sdk's front page shows, as a file.

use caelum_sdk::{About, Evidence, NoParameters, PluginError, Target, Validator, Verdict};

/// Passes when every program ended with 0.
pub struct AllZero;

impl Validator for AllZero {
    type Parameters = NoParameters;
    const ABOUT: About =
        caelum_sdk::about!("all-zero", "All zero", "Passes when every program ended with 0.");

    fn judge(
        evidence: &Evidence,
        _: &dyn Target,
        _: &NoParameters,
    ) -> Result<Verdict, PluginError> {
        Ok(evidence
            .require_exit_zero()
            .unwrap_or_else(|| Verdict::pass("every program ended with 0")))
    }
}

caelum_sdk::export_validator!(AllZero);
