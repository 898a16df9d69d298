//! How a step spreads over its machines, as documents say it: one word, or an object with the details.

use std::borrow::Cow;
use std::fmt;

use caelum_core::task::Strategy;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Faults;

/// The strategies there are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StrategyWord {
    /// All machines at once.
    #[default]
    Parallel,
    /// One machine after the other.
    Sequential,
}

impl StrategyWord {
    const ALL: [(&'static str, Self); 2] =
        [("parallel", Self::Parallel), ("sequential", Self::Sequential)];
}

/// A strategy: `"parallel"`, or `{"kind": "parallel", "max": 4}`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StrategyDocument {
    /// Which one.
    pub kind: StrategyWord,
    /// At most this many at once; for `parallel`.
    pub max: Option<u32>,
    /// Whether to go on after a failure; for `sequential`.
    pub continue_on_failure: Option<bool>,
}

/// The object form.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Details {
    /// Which strategy.
    kind: StrategyWord,
    /// For `parallel`: at most this many machines at once; all when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10_000))]
    max: Option<u32>,
    /// For `sequential`: whether the next machine begins although one failed; false when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    continue_on_failure: Option<bool>,
}

impl StrategyDocument {
    pub(super) fn of(strategy: &Strategy) -> Self {
        match strategy {
            Strategy::Parallel { max } => {
                Self { kind: StrategyWord::Parallel, max: *max, continue_on_failure: None }
            }
            Strategy::Sequential { continue_on_failure } => Self {
                kind: StrategyWord::Sequential,
                max: None,
                continue_on_failure: continue_on_failure.then_some(true),
            },
        }
    }

    /// Turns it into the model's strategy; a detail of the other strategy is a fault.
    pub(crate) fn to_strategy(&self, at: &str, faults: &mut Faults) -> Strategy {
        match self.kind {
            StrategyWord::Parallel => {
                if self.continue_on_failure.is_some() {
                    faults.add(
                        format_args!("{at}/continue_on_failure"),
                        "`continue_on_failure` is for `sequential`; machines in parallel never stop each other",
                    );
                }
                Strategy::Parallel { max: self.max }
            }
            StrategyWord::Sequential => {
                if self.max.is_some() {
                    faults.add(
                        format_args!("{at}/max"),
                        "`max` is for `parallel`; `sequential` runs one machine at a time",
                    );
                }
                Strategy::Sequential {
                    continue_on_failure: self.continue_on_failure.unwrap_or(false),
                }
            }
        }
    }
}

impl Serialize for StrategyDocument {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.max.is_none() && self.continue_on_failure.is_none() {
            return self.kind.serialize(serializer);
        }
        Details { kind: self.kind, max: self.max, continue_on_failure: self.continue_on_failure }
            .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for StrategyDocument {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = StrategyDocument;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("`parallel`, `sequential`, or an object with `kind`")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<StrategyDocument, E> {
                StrategyWord::ALL
                    .iter()
                    .find(|(name, _)| *name == text)
                    .map(|(_, kind)| StrategyDocument { kind: *kind, ..Default::default() })
                    .ok_or_else(|| E::unknown_variant(text, &["parallel", "sequential"]))
            }

            fn visit_map<M: MapAccess<'de>>(self, map: M) -> Result<StrategyDocument, M::Error> {
                let Details { kind, max, continue_on_failure } =
                    Details::deserialize(MapAccessDeserializer::new(map))?;
                Ok(StrategyDocument { kind, max, continue_on_failure })
            }
        }
        deserializer.deserialize_any(Either)
    }
}

impl JsonSchema for StrategyDocument {
    fn schema_name() -> Cow<'static, str> {
        "Strategy".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let details = generator.subschema_for::<Details>();
        json_schema!({
            "anyOf": [
                {"type": "string", "enum": ["parallel", "sequential"]},
                details,
            ],
            "examples": ["parallel", {"kind": "parallel", "max": 4}],
        })
    }
}
