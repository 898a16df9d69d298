//! A step for each item of a list, as documents say it.

use caelum_core::workflow::{ITEM_NAME, MAP_AT_ONCE_DEFAULT, StepMap};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::action::any_json;
use super::filled;

/// The list that a step goes over: its action is performed once for each item, on each of its machines.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(example = serde_json::json!({"over": "{{ parameters.files }}", "as": "file", "max": 4}))]
pub struct MapDocument {
    /// The list, at most 10,000 items: a template that gives one, such as `{{ parameters.files }}` or
    /// `{{ steps.list.outputs.files }}`, or the list itself. It is evaluated once, when the step begins.
    #[schemars(schema_with = "list_or_template")]
    pub over: Value,
    /// What templates of the action call an item; `item` when left out. Its position, from 0, is `item_index`, or this
    /// name with `_index`.
    #[serde(rename = "as", default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"file")]
    pub name: Option<String>,
    /// How many items are under way at once; 16 when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000))]
    pub max: Option<u32>,
}

fn list_or_template(generator: &mut SchemaGenerator) -> Schema {
    let item = any_json(generator);
    json_schema!({
        "anyOf": [{"type": "string"}, {"type": "array", "items": item}],
        "examples": ["{{ parameters.files }}", ["north", "south"]],
    })
}

impl MapDocument {
    pub(super) fn of(map: &StepMap) -> Self {
        Self {
            over: map.over.clone(),
            name: (map.name != ITEM_NAME).then(|| map.name.clone()),
            max: (map.max != MAP_AT_ONCE_DEFAULT).then_some(map.max),
        }
    }

    /// Turns it into the model's; what is left out has its default.
    pub(super) fn to_map(&self) -> StepMap {
        StepMap {
            over: self.over.clone(),
            name: filled(self.name.as_ref()).unwrap_or(ITEM_NAME).to_owned(),
            max: self.max.unwrap_or(MAP_AT_ONCE_DEFAULT),
        }
    }
}
