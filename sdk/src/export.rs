//! What stands between the host's calls and an author's type, and the macros that tie the knot. Public only because
//! the macros expand in the plugin's crate.

use crate::about::About;
use crate::bindings::pattern::exports::caelum::plugin::pattern as wit_pattern;
use crate::bindings::validator::exports::caelum::plugin::validator as wit_validator;
use crate::context::Context;
use crate::convert;
use crate::error::PluginError;
use crate::parameters::parse_parameters;
use crate::pattern::{Pattern, assess};
use crate::target::Target;
use crate::validator::Validator;

#[cfg(target_arch = "wasm32")]
pub use guest::Exported;

/// The version of the contract that this crate speaks, as it is written into files.
pub const WIT_VERSION: &str = "0.1.0";

/// Answers `pattern.describe`.
#[must_use]
pub fn describe_pattern<P: Pattern>() -> wit_pattern::PatternDescription {
    convert::pattern::describe::<P>()
}

/// Answers `pattern.validate`.
///
/// # Errors
/// Those of the pattern, and wrong parameters.
pub fn validate<P: Pattern>(
    target: &dyn Target,
    parameters: &str,
    context: &str,
) -> Result<wit_pattern::Assessment, wit_pattern::PluginError> {
    let answer = || {
        let parameters = parse_parameters::<P::Parameters>(parameters)?;
        assess::<P>(target, &parameters, &Context::from_json(context)?)
    };
    answer().map(convert::pattern::assessment).map_err(convert::error)
}

/// Answers `pattern.plan`.
///
/// # Errors
/// Those of the pattern, and wrong parameters.
pub fn plan<P: Pattern>(
    target: &dyn Target,
    parameters: &str,
    context: &str,
) -> Result<wit_pattern::ChangePlan, wit_pattern::PluginError> {
    let answer = || {
        let parameters = parse_parameters::<P::Parameters>(parameters)?;
        P::plan(target, &parameters, &Context::from_json(context)?)
    };
    answer().map(convert::pattern::plan).map_err(convert::error)
}

/// Answers `validator.describe`.
#[must_use]
pub fn describe_validator<V: Validator>() -> wit_validator::ValidatorDescription {
    convert::validator::describe::<V>()
}

/// Answers `validator.judge`.
///
/// # Errors
/// Those of the validator, and wrong parameters.
pub fn judge<V: Validator>(
    evidence: wit_validator::Evidence,
    target: &dyn Target,
    parameters: &str,
) -> Result<wit_validator::Verdict, wit_validator::PluginError> {
    let answer = || -> Result<_, PluginError> {
        let parameters = parse_parameters::<V::Parameters>(parameters)?;
        V::judge(&convert::validator::evidence(evidence)?, target, &parameters)
    };
    answer().map(convert::validator::verdict).map_err(convert::error)
}

/// The generated interfaces, implemented for an author's type.
#[cfg(target_arch = "wasm32")]
mod guest {
    use std::marker::PhantomData;

    use super::{Pattern, Validator, wit_pattern, wit_validator};
    use crate::host::HostTarget;

    /// Answers the host's calls for an author's type.
    pub struct Exported<T>(PhantomData<T>);

    impl<P: Pattern> wit_pattern::Guest for Exported<P> {
        fn describe() -> wit_pattern::PatternDescription {
            enter();
            super::describe_pattern::<P>()
        }

        fn validate(
            parameters: String,
            context: String,
        ) -> Result<wit_pattern::Assessment, wit_pattern::PluginError> {
            enter();
            super::validate::<P>(&HostTarget, &parameters, &context)
        }

        fn plan(
            parameters: String,
            context: String,
        ) -> Result<wit_pattern::ChangePlan, wit_pattern::PluginError> {
            enter();
            super::plan::<P>(&HostTarget, &parameters, &context)
        }
    }

    impl<V: Validator> wit_validator::Guest for Exported<V> {
        fn describe() -> wit_validator::ValidatorDescription {
            enter();
            super::describe_validator::<V>()
        }

        fn judge(
            evidence: wit_validator::Evidence,
            parameters: String,
        ) -> Result<wit_validator::Verdict, wit_validator::PluginError> {
            enter();
            super::judge::<V>(evidence, &HostTarget, &parameters)
        }
    }

    /// Prepares an instance for its one call: a panic is logged with its place before it becomes a trap, which carries
    /// no text.
    fn enter() {
        std::panic::set_hook(Box::new(|panic| crate::log::error(panic.to_string())));
    }
}

/// Returns the length of the identity that [`section`] writes.
#[must_use]
pub const fn section_length(about: &About, world: &str) -> usize {
    let mut length = 0;
    let parts = section_parts(about, world);
    let mut at = 0;
    while at < parts.len() {
        length += parts[at].len();
        at += 1;
    }
    length
}

/// Returns the JSON object that names a plugin inside its file.
///
/// # Panics
/// While compiling: when id or version break the contract's rules, which also keeps the JSON valid without escapes.
#[must_use]
pub const fn section<const LENGTH: usize>(about: &About, world: &str) -> [u8; LENGTH] {
    assert!(
        about.has_valid_id(),
        "the plugin's id must be 1 to 64 lower-case letters, digits and `-`, a letter first"
    );
    assert!(
        about.has_valid_version(),
        "the plugin's version must be a semantic version such as 1.4.0"
    );
    let mut bytes = [0; LENGTH];
    let parts = section_parts(about, world);
    let (mut part, mut to) = (0, 0);
    while part < parts.len() {
        let from = parts[part].as_bytes();
        let mut at = 0;
        while at < from.len() {
            bytes[to] = from[at];
            at += 1;
            to += 1;
        }
        part += 1;
    }
    bytes
}

const fn section_parts<'a>(about: &'a About, world: &'a str) -> [&'a str; 9] {
    [
        "{\"id\":\"",
        about.id,
        "\",\"version\":\"",
        about.version,
        "\",\"world\":\"",
        world,
        "\",\"wit\":\"",
        WIT_VERSION,
        "\"}",
    ]
}

/// Exports a type that implements [`Pattern`](crate::Pattern) as this file's plugin. Once in a crate, whose type is
/// `cdylib`.
#[macro_export]
macro_rules! export_pattern {
    ($plugin:ty) => {
        $crate::__export!(
            pattern,
            $crate::Pattern,
            $plugin,
            "improvement-pattern",
            export_pattern_bindings
        );
    };
}

/// Exports a type that implements [`Validator`](crate::Validator) as this file's plugin. Once in a crate, whose type is
/// `cdylib`.
#[macro_export]
macro_rules! export_validator {
    ($plugin:ty) => {
        $crate::__export!(
            validator,
            $crate::Validator,
            $plugin,
            "step-validator",
            export_validator_bindings
        );
    };
}

/// The common part of both export macros. On the native target it only checks the identity, so that plugins can be
/// linked into one test program side by side.
#[doc(hidden)]
#[macro_export]
macro_rules! __export {
    ($world:ident, $contract:path, $plugin:ty, $name:literal, $bindings:ident) => {
        const _: () = {
            // Natively nothing else mentions the type, and the compiler would call it unused.
            const _: ::core::marker::PhantomData<$plugin> = ::core::marker::PhantomData;

            #[cfg(target_arch = "wasm32")]
            type Exported = $crate::export::Exported<$plugin>;
            $crate::__export_raw!(
                $world,
                Exported,
                <$plugin as $contract>::ABOUT,
                $name,
                $bindings
            );
        };
    };
}

/// Exports a type that implements the generated interface itself, under an identity that may be anything. For test
/// guests that must do what this crate's types prevent.
#[doc(hidden)]
#[macro_export]
macro_rules! __export_raw {
    ($world:ident, $exported:ident, $about:expr, $name:literal, $bindings:ident) => {
        const _: () = {
            const ABOUT: $crate::About = $about;
            const LENGTH: usize = $crate::export::section_length(&ABOUT, $name);
            const IDENTITY: [u8; LENGTH] = $crate::export::section(&ABOUT, $name);

            #[cfg(target_arch = "wasm32")]
            #[unsafe(link_section = "caelum:plugin")]
            #[used]
            static SECTION: [u8; LENGTH] = IDENTITY;

            #[cfg(target_arch = "wasm32")]
    $crate::bindings::$world::$bindings!($exported with_types_in $crate::bindings::$world);
            #[cfg(not(target_arch = "wasm32"))]
            const _: [u8; LENGTH] = IDENTITY;
        };
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_identity_is_a_json_object() {
        const ABOUT: About =
            About { id: "a-b", version: "1.2.3-rc.1", title: "", summary: "", licence: "" };
        const LENGTH: usize = section_length(&ABOUT, "step-validator");
        const SECTION: [u8; LENGTH] = section(&ABOUT, "step-validator");

        let json: serde_json::Value = serde_json::from_slice(&SECTION).expect("JSON");

        assert_eq!(
            json,
            serde_json::json!({"id": "a-b", "version": "1.2.3-rc.1", "world": "step-validator", "wit": "0.1.0"})
        );
    }
}
