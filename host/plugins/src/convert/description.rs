//! What a plugin says about itself: checked once, when it is loaded.

use std::collections::{BTreeMap, BTreeSet};

use caelum_core::id::PluginName;
use caelum_core::plugin::{Description, Phase, Rule};
use globset::GlobBuilder;
use serde_json::{Map, Value};

use crate::bindings::{pattern_export, types, validator_export};
use crate::text;

use super::finding::{is_rule_id, severity};
use super::{Breaches, extensions, is_word, json_object};

/// The longest id of a plugin, in bytes (`types.wit`).
const ID_BYTES_MAX: usize = 64;

/// The longest schema of parameters, in bytes (`types.wit`).
const SCHEMA_BYTES_MAX: usize = 256 * 1024;

/// The most rules of one pattern (`pattern.wit`).
const RULES_MAX: usize = 500;

/// The most globs or formats in a description; nobody reads more.
const NAMES_MAX: usize = 500;

/// Converts what a pattern says about itself.
///
/// # Errors
///
/// Every breach of the contract.
pub(crate) fn described_pattern(
    given: pattern_export::PatternDescription,
) -> Result<Description, Vec<String>> {
    let mut breaches = Breaches::default();
    let about = about(given.about, &mut breaches);
    let rules = rules(given.rules, &mut breaches);
    if given.applies_to.len() > NAMES_MAX {
        breaches.add(format!(
            "`applies-to` has {} globs; at most {NAMES_MAX} are allowed",
            given.applies_to.len()
        ));
    }
    for glob in &given.applies_to {
        if let Err(error) = GlobBuilder::new(glob).literal_separator(true).build() {
            breaches.add(format!(
                "`applies-to` has `{}`, which is no glob: {}",
                text::line(glob),
                error.kind()
            ));
        }
    }
    finish(breaches, about, |description| Description {
        rules,
        applies_to: given.applies_to.iter().map(|glob| text::line(glob)).collect(),
        ..description
    })
}

/// Converts what a validator says about itself.
///
/// # Errors
///
/// Every breach of the contract.
pub(crate) fn described_validator(
    given: validator_export::ValidatorDescription,
) -> Result<Description, Vec<String>> {
    let mut breaches = Breaches::default();
    let about = about(given.about, &mut breaches);
    let mut phases: Vec<Phase> = given
        .phases
        .into_iter()
        .map(|phase| match phase {
            validator_export::Phase::Before => Phase::Before,
            validator_export::Phase::After => Phase::After,
        })
        .collect();
    phases.sort_unstable();
    phases.dedup();
    if phases.is_empty() {
        breaches.add("`phases` is empty; a validator can be asked `before`, `after` or both");
    }
    if given.evidence_formats.len() > NAMES_MAX {
        breaches.add(format!(
            "`evidence-formats` has {} names; at most {NAMES_MAX} are allowed",
            given.evidence_formats.len()
        ));
    }
    for format in &given.evidence_formats {
        if !is_word(format, 64, "-.+") {
            breaches.add(format!(
                "`evidence-formats` has `{}`; a format is 1 to 64 letters, digits and `-`",
                text::line(format)
            ));
        }
    }
    finish(breaches, about, |description| Description {
        phases,
        evidence_formats: given.evidence_formats.iter().map(|name| text::line(name)).collect(),
        ..description
    })
}

fn finish(
    breaches: Breaches,
    about: Option<Description>,
    complete: impl FnOnce(Description) -> Description,
) -> Result<Description, Vec<String>> {
    match (breaches.into_list(), about) {
        (list, Some(description)) if list.is_empty() => Ok(complete(description)),
        (list, _) => Err(list),
    }
}

/// Converts the part that both kinds share; nothing when it has a breach.
fn about(given: types::Description, breaches: &mut Breaches) -> Option<Description> {
    let name = plugin_name(&given.id, breaches);
    if let Err(error) = semver::Version::parse(&given.version) {
        breaches.add(format!(
            "`version` is `{}`, which is no semantic version ({error}); expected the form 1.4.0",
            text::line(&given.version)
        ));
    }
    let title = text::line(&given.title);
    if title.is_empty() {
        breaches.add("`title` is empty; expected a few words");
    }
    let schema = schema(&given.parameters_schema, breaches);
    let mut further = Further::new(given.extensions, breaches);
    let licence = further.text("licence", breaches);
    let homepage = further.text("homepage", breaches);
    let authors = further.texts("authors", breaches);
    Some(Description {
        name: name?,
        version: given.version,
        title,
        summary: text::paragraph(&given.summary),
        parameters_schema: schema?,
        rules: vec![],
        applies_to: vec![],
        phases: vec![],
        evidence_formats: vec![],
        licence,
        homepage,
        authors,
    })
}

/// The further facts of a description, of which the contract defines three (`types.wit`).
struct Further(BTreeMap<String, Value>);

impl Further {
    fn new(given: Vec<types::Extension>, breaches: &mut Breaches) -> Self {
        let given = extensions(given, "the description", breaches).into_iter();
        let parsed =
            given.filter_map(|(name, value)| Some((name, serde_json::from_str(&value).ok()?)));
        Further(parsed.collect())
    }

    fn text(&mut self, name: &str, breaches: &mut Breaches) -> Option<String> {
        match self.0.remove(name)? {
            Value::String(said) if !said.is_empty() => Some(text::line(&said)),
            _ => {
                breaches.add(format!("the extension `{name}` of the description is no text"));
                None
            }
        }
    }

    fn texts(&mut self, name: &str, breaches: &mut Breaches) -> Vec<String> {
        let Some(given) = self.0.remove(name) else { return vec![] };
        let said = given.as_array().and_then(|list| {
            let one = |it: &Value| Some(text::line(it.as_str()?));
            list.iter().map(one).collect::<Option<Vec<String>>>()
        });
        match said {
            Some(list) if list.len() <= NAMES_MAX => list,
            _ => {
                breaches.add(format!(
                    "the extension `{name}` of the description is no array of at most {NAMES_MAX} texts"
                ));
                vec![]
            }
        }
    }
}

fn plugin_name(id: &str, breaches: &mut Breaches) -> Option<PluginName> {
    let legal = id.len() <= ID_BYTES_MAX
        && id.starts_with(|letter: char| letter.is_ascii_lowercase())
        && id
            .chars()
            .all(|letter| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '-');
    match id.parse() {
        Ok(name) if legal => Some(name),
        _ => {
            breaches.add(format!(
                "`id` is `{}`; an id begins with a lower-case letter and has at most {ID_BYTES_MAX} lower-case letters, digits and `-`",
                text::line(id)
            ));
            None
        }
    }
}

fn schema(given: &str, breaches: &mut Breaches) -> Option<Value> {
    if given.len() > SCHEMA_BYTES_MAX {
        breaches.add(format!(
            "`parameters-schema` has {} bytes; at most {SCHEMA_BYTES_MAX} are allowed",
            given.len()
        ));
        return None;
    }
    let schema = json_object(given, "`parameters-schema`", breaches)?;
    if schema.get("type").and_then(Value::as_str) != Some("object") {
        breaches.add(
            "`parameters-schema` does not say `\"type\": \"object\"`; parameters are always an object",
        );
        return None;
    }
    if let Err(problem) = crate::parameters::Schema::compile(&schema) {
        breaches.add(format!("`parameters-schema` cannot be used: {}", text::line(&problem)));
        return None;
    }
    Some(clean_schema(schema))
}

/// Cleans what a schema says to people. Everything else in it is for programs and stays as it is: a pattern may well
/// hold a control character.
fn clean_schema(schema: Value) -> Value {
    match schema {
        Value::Object(map) => Value::Object(
            map.into_iter()
                .map(|(name, value)| match (name.as_str(), value) {
                    ("title" | "description" | "$comment", Value::String(said)) => {
                        (name, Value::String(text::paragraph(&said)))
                    }
                    (_, value) => (name, clean_schema(value)),
                })
                .collect::<Map<_, _>>(),
        ),
        Value::Array(values) => values.into_iter().map(clean_schema).collect(),
        other => other,
    }
}

fn rules(given: Vec<pattern_export::Rule>, breaches: &mut Breaches) -> Vec<Rule> {
    if given.len() > RULES_MAX {
        breaches.add(format!("`rules` has {} rules; at most {RULES_MAX} are allowed", given.len()));
    }
    let mut ids = BTreeSet::new();
    given
        .into_iter()
        .map(|rule| {
            if !is_rule_id(&rule.id) {
                breaches.add(format!(
                    "`rules` has the id `{}`; an id is 1 to 64 letters, digits, `-`, `_` and `.`",
                    text::line(&rule.id)
                ));
            } else if !ids.insert(rule.id.clone()) {
                breaches.add(format!("`rules` has `{}` twice", rule.id));
            }
            Rule {
                id: text::line(&rule.id),
                title: text::line(&rule.title),
                severity: severity(rule.severity),
                fixable: rule.fixable,
                remediation: rule.remediation.map(|text| text::paragraph(&text)),
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guest_about() -> types::Description {
        types::Description {
            id: "unit-tests".to_owned(),
            version: "1.4.0".to_owned(),
            title: "Unit tests".to_owned(),
            summary: "Judges test reports.".to_owned(),
            parameters_schema: r#"{"type":"object","description":"a\u001b[1mb"}"#.to_owned(),
            extensions: vec![],
        }
    }

    fn guest_validator(about: types::Description) -> validator_export::ValidatorDescription {
        validator_export::ValidatorDescription {
            about,
            phases: vec![validator_export::Phase::After, validator_export::Phase::After],
            evidence_formats: vec!["junit-xml".to_owned()],
        }
    }

    #[test]
    fn licence_homepage_and_authors_are_kept_and_must_be_what_they_should() {
        let with = |extensions: &[(&str, &str)]| {
            let extensions =
                extensions.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
            let about = types::Description { extensions: extensions.collect(), ..guest_about() };
            described_validator(guest_validator(about))
        };

        let good = with(&[
            ("licence", r#""MIT""#),
            ("homepage", r#""https://example.com""#),
            ("authors", r#"["Ada","\u001b[1mBob"]"#),
            ("acme/further", "1"),
        ])
        .expect("good");
        assert_eq!(good.licence.as_deref(), Some("MIT"));
        assert_eq!(good.homepage.as_deref(), Some("https://example.com"));
        assert_eq!(good.authors, ["Ada", "Bob"]);

        let told = with(&[("licence", "3"), ("homepage", "null"), ("authors", r#"["Ada",1]"#)]);
        assert_eq!(
            told.expect_err("none is what it should be"),
            [
                "the extension `licence` of the description is no text",
                "the extension `homepage` of the description is no text",
                "the extension `authors` of the description is no array of at most 500 texts",
            ]
        );
    }

    #[test]
    fn a_good_description_arrives_clean() {
        let answer = described_validator(guest_validator(guest_about())).expect("good");

        assert_eq!(answer.name.as_str(), "unit-tests");
        assert_eq!(answer.phases, [Phase::After]);
        assert_eq!(answer.parameters_schema["description"], "ab");
    }

    #[test]
    fn all_breaches_of_a_description_are_named_at_once() {
        let about = types::Description {
            id: "Unit Tests".to_owned(),
            version: "1.4".to_owned(),
            title: " ".to_owned(),
            summary: String::new(),
            parameters_schema: "[]".to_owned(),
            extensions: vec![],
        };
        let given = validator_export::ValidatorDescription {
            about,
            phases: vec![],
            evidence_formats: vec!["a b".to_owned()],
        };

        assert_eq!(
            described_validator(given).expect_err("six breaches"),
            [
                "`id` is `Unit Tests`; an id begins with a lower-case letter and has at most 64 lower-case letters, digits and `-`",
                "`version` is `1.4`, which is no semantic version (unexpected end of input while parsing minor version number); expected the form 1.4.0",
                "`title` is empty; expected a few words",
                "`parameters-schema` is not a JSON object",
                "`phases` is empty; a validator can be asked `before`, `after` or both",
                "`evidence-formats` has `a b`; a format is 1 to 64 letters, digits and `-`",
            ]
        );
    }

    #[test]
    fn a_schema_must_be_one_of_an_object_and_must_work() {
        let with = |schema: &str| {
            let about =
                types::Description { parameters_schema: schema.to_owned(), ..guest_about() };
            described_validator(guest_validator(about))
        };

        assert!(with(r#"{"type":"object","additionalProperties":false}"#).is_ok());
        assert_eq!(
            with(r#"{"type":"array"}"#).expect_err("an array"),
            [
                "`parameters-schema` does not say `\"type\": \"object\"`; parameters are always an object"
            ]
        );
        let remote = with(r#"{"type":"object","$ref":"http://example.com/x.json"}"#);
        assert!(remote.expect_err("remote")[0].starts_with("`parameters-schema` cannot be used: "),);
        assert!(with(r#"{"type":"object","properties":3}"#).is_err());
    }

    #[test]
    fn rules_have_ids_of_their_own() {
        let rule = |id: &str| pattern_export::Rule {
            id: id.to_owned(),
            title: "t".to_owned(),
            severity: types::Severity::Advice,
            fixable: false,
            remediation: None,
        };
        let given = pattern_export::PatternDescription {
            about: guest_about(),
            rules: vec![rule("A"), rule("A"), rule("")],
            applies_to: vec!["[x".to_owned()],
        };

        let breaches = described_pattern(given).expect_err("three");

        assert_eq!(breaches.len(), 3, "{breaches:?}");
        assert_eq!(breaches[0], "`rules` has `A` twice");
    }
}
