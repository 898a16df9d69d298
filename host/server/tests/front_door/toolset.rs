//! The tool set alone, as the command line uses it.

use caelum_workflow::audit::Audit;
use caelum_workflow::mcp::tool::{Annotations, Answer, Call, tool};
use caelum_workflow::mcp::toolset::{CallContext, Limits, Toolset};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::door::toolset;

#[derive(Deserialize, JsonSchema)]
struct Bare {
    #[expect(dead_code, reason = "only its schema matters")]
    anything: Value,
}

#[derive(Serialize, JsonSchema)]
struct Empty {}

impl Answer for Empty {}

#[tokio::test]
async fn a_call_without_a_transport_takes_the_same_road() {
    let (toolset, _) = toolset(Limits::default(), false, Audit::off());
    let arguments = |value: Value| value.as_object().cloned().unwrap();

    let sum = toolset
        .call("add", arguments(json!({"a": 1})), CallContext::local(&toolset))
        .await
        .unwrap()
        .unwrap();
    let wrong = toolset
        .call("add", arguments(json!({"a": "1"})), CallContext::local(&toolset))
        .await
        .unwrap();

    assert_eq!(
        (Value::Object(sum.structured), sum.text.as_str()),
        (json!({"sum": 1}), "the sum is 1")
    );
    assert_eq!(wrong.unwrap_err().code(), "invalid_arguments");
}

#[test]
fn a_set_with_two_tools_of_one_name_is_refused() {
    let twice =
        || tool("twice", "Twice", Annotations::READS, |_: Call, _: Bare| async { Ok(Empty {}) });

    let error = Toolset::new([twice(), twice()], "", Limits::default()).unwrap_err();

    assert_eq!(error.to_string(), "two tools are called `twice`");
}

#[test]
fn objections_name_the_tool_and_what_would_trip_a_client() {
    let (good, _) = toolset(Limits::default(), false, Audit::off());
    let bad =
        tool("Bad-Name", "Bad", Annotations::READS, |_: Call, _: Bare| async { Ok(Empty {}) });
    let bad = Toolset::new([bad], "", Limits::default()).unwrap();

    let good: Vec<String> =
        good.objections().into_iter().filter(|found| !found.ends_with("no description")).collect();

    assert_eq!(good, Vec::<String>::new());
    assert_eq!(
        bad.objections(),
        [
            "Bad-Name: the name is not snake_case",
            "Bad-Name: no description",
            "Bad-Name: input schema: /anything: no description",
            "Bad-Name: input schema: /anything: says no type",
        ]
    );
}
