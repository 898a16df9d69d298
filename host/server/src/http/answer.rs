//! The JSON body of a refusal: a code to branch on, what was wrong, what would be right.

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde_json::json;

/// Makes the answer to a request that is refused before it reaches what it asked for; an empty hint is left out.
pub(crate) fn refusal(
    status: StatusCode,
    code: &str,
    message: impl Into<String>,
    hint: impl Into<String>,
) -> Response {
    let mut error = json!({ "code": code, "message": message.into() });
    let hint = hint.into();
    if !hint.is_empty() {
        error["hint"] = hint.into();
    }
    (status, Json(json!({ "error": error }))).into_response()
}
