//! The smallest validator: what the front page of the sdk shows, as a file.

use caelum_sdk::{About, Evidence, PluginError, Target, Validator, Verdict, about};
struct AllZero;
impl Validator for AllZero {
    type Parameters = ();
    const ABOUT: About = about!("all-zero", "All zero", "Passes when every program ended with 0.");
    fn judge(evidence: &Evidence, _: &dyn Target, _: &()) -> Result<Verdict, PluginError> {
        Ok(evidence.require_exit_zero().unwrap_or(Verdict::pass("every program ended with 0")))
    }
}
caelum_sdk::export_validator!(AllZero);
