//! Reads the bytes of one JSON-RPC message, and says in JSON-RPC what is wrong with bytes that are none. Every transport
//! uses it; framing is theirs.

use rmcp::model::{ClientJsonRpcMessage, ClientRequest, ErrorCode, JsonRpcMessage};
use serde_json::{Value, json};

use crate::rates::TooMany;

/// JSON-RPC's code for a caller who is not who they must be; from the range servers may use as they like.
pub const UNAUTHORIZED: i32 = -32001;
/// JSON-RPC's code for a server at one of its limits; from the range servers may use as they like.
pub const AT_LIMIT: i32 = -32003;

/// How many characters of a value are repeated to whoever sent it: enough to find it by.
const SHOWN_CHARS_MAX: usize = 80;

/// A message that is refused: the answer to send.
#[derive(Debug, Clone, PartialEq)]
pub struct Refusal {
    /// The id of the request, where it could be read.
    pub id: Option<Value>,
    /// The JSON-RPC code.
    pub code: i32,
    /// What is wrong and what would be right.
    pub message: String,
    /// When to try again, in milliseconds, where that helps.
    pub retry_after_ms: Option<u64>,
}

impl Refusal {
    /// Makes a refusal that answers no particular request.
    pub fn new(code: i32, message: impl Into<String>) -> Self {
        Self { id: None, code, message: message.into(), retry_after_ms: None }
    }

    /// Makes the refusal of a message that is longer than `max` bytes.
    pub fn too_long(max: usize) -> Self {
        Self::new(
            ErrorCode::INVALID_REQUEST.0,
            format!("the message is longer than {max} bytes, which is the most this server reads"),
        )
    }

    /// Makes the refusal of a request that came too early.
    pub fn too_many(id: Option<Value>, too_many: &TooMany) -> Self {
        let retry_after_ms = Some(too_many.wait_ms());
        Self { id, retry_after_ms, ..Self::new(AT_LIMIT, too_many.to_string()) }
    }

    /// Returns the JSON-RPC error response, without a line break. An id that could not be read is left out, as the
    /// protocol wants it.
    pub fn to_json(&self) -> Vec<u8> {
        let mut error = json!({ "code": self.code, "message": self.message });
        if let Some(wait) = self.retry_after_ms {
            error["data"] = json!({ "retry_after_ms": wait });
        }
        let response = match &self.id {
            Some(id) => json!({ "jsonrpc": "2.0", "id": id, "error": error }),
            None => json!({ "jsonrpc": "2.0", "error": error }),
        };
        response.to_string().into_bytes()
    }
}

/// Reads one message.
///
/// # Errors
///
/// The refusal to answer with: -32700 for bytes that are no JSON, -32600 for JSON that is no message.
pub fn read(bytes: &[u8]) -> Result<ClientJsonRpcMessage, Refusal> {
    // RFC 8259 lets a reader skip a byte order mark, and some editors write one.
    let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF".as_slice()).unwrap_or(bytes);
    let message = serde_json::from_slice(bytes).map_err(|error| explain(bytes, &error))?;
    match lost_cursor(bytes, &message) {
        Some(refusal) => Err(refusal),
        None => Ok(message),
    }
}

/// Refuses a request for a list whose cursor is no string: the SDK reads it as one without a cursor, and the client would
/// take the first page for the one it asked for.
fn lost_cursor(bytes: &[u8], message: &ClientJsonRpcMessage) -> Option<Refusal> {
    let JsonRpcMessage::Request(request) = message else { return None };
    let params = match &request.request {
        ClientRequest::ListToolsRequest(list) => &list.params,
        ClientRequest::ListPromptsRequest(list) => &list.params,
        ClientRequest::ListResourcesRequest(list) => &list.params,
        ClientRequest::ListResourceTemplatesRequest(list) => &list.params,
        _ => return None,
    };
    if params.is_some() {
        return None;
    }
    let value: Value = serde_json::from_slice(bytes).ok()?;
    let cursor = value.get("params")?.get("cursor").filter(|cursor| !cursor.is_null())?;
    let message = format!("`params.cursor` must be a string, found {}", short(cursor));
    let id = value.get("id").cloned();
    Some(Refusal { id, ..Refusal::new(ErrorCode::INVALID_PARAMS.0, message) })
}

/// Writes a value for a message; a long one by its beginning.
fn short(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(SHOWN_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// Returns the id of a request that will not be handled, so that its refusal reaches whoever waits for it.
pub fn request_id(bytes: &[u8]) -> Option<Value> {
    let value: Value = serde_json::from_slice(bytes).ok()?;
    value.get("id").filter(|id| id.is_string() || id.is_i64() || id.is_u64()).cloned()
}

fn explain(bytes: &[u8], error: &serde_json::Error) -> Refusal {
    let value: Value = match serde_json::from_slice(bytes) {
        Ok(value) => value,
        Err(error) => {
            return Refusal::new(
                ErrorCode::PARSE_ERROR.0,
                format!("the message is no JSON: {error}"),
            );
        }
    };
    let invalid = |message: String| Refusal::new(ErrorCode::INVALID_REQUEST.0, message);
    let message = match value {
        Value::Array(_) => {
            return invalid("batches are not supported; send one message at a time".to_owned());
        }
        Value::Object(message) => message,
        other => return invalid(format!("a message is a JSON object, found {}", short(&other))),
    };
    let id = message.get("id");
    let usable = id.filter(|id| id.is_string() || id.is_i64()).cloned();
    let reason = if message.get("jsonrpc").and_then(Value::as_str) != Some("2.0") {
        "`jsonrpc` must be \"2.0\"".to_owned()
    } else if id.is_some() && usable.is_none() {
        "`id` must be a string or an integer".to_owned()
    } else if message.get("method").is_some_and(|method| !method.is_string()) {
        "`method` must be a string".to_owned()
    } else if message.contains_key("method")
        && (message.contains_key("result") || message.contains_key("error"))
    {
        "a message has `method`, or `result`, or `error`, and only one of them".to_owned()
    } else if !["method", "result", "error"].iter().any(|key| message.contains_key(*key)) {
        "a message has `method`, or `result`, or `error`".to_owned()
    } else {
        format!("the message does not follow the protocol: {error}")
    };
    Refusal { id: usable, ..invalid(reason) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(bytes: &[u8]) -> Refusal {
        read(bytes).expect_err("these bytes are no message")
    }

    #[test]
    fn bytes_that_are_no_json_are_a_parse_error() {
        for bytes in [b"not json".as_slice(), b"{\"jsonrpc\":", b"\xff\xfe", b"{} {}"] {
            assert_eq!(refused(bytes).code, -32700, "{bytes:?}");
        }
    }

    #[test]
    fn nesting_without_end_is_refused_and_not_followed() {
        let deep = "[".repeat(1_000_000);

        assert_eq!(refused(deep.as_bytes()).code, -32700);
    }

    #[test]
    fn json_that_is_no_message_is_an_invalid_request_with_a_reason() {
        let cases = [
            (r#"[{"jsonrpc":"2.0"}]"#, "batches are not supported; send one message at a time"),
            ("7", "a message is a JSON object, found 7"),
            (r#"{"id":1,"method":"ping"}"#, "`jsonrpc` must be \"2.0\""),
            (
                r#"{"jsonrpc":"2.0","id":1.5,"method":"ping"}"#,
                "`id` must be a string or an integer",
            ),
            (r#"{"jsonrpc":"2.0","id":1}"#, "a message has `method`, or `result`, or `error`"),
            (
                r#"{"jsonrpc":"2.0","id":1,"method":"ping","result":{}}"#,
                "a message has `method`, or `result`, or `error`, and only one of them",
            ),
            (r#"{"jsonrpc":"2.0","id":1,"method":7}"#, "`method` must be a string"),
        ];
        for (text, reason) in cases {
            let refusal = refused(text.as_bytes());
            assert_eq!((refusal.code, refusal.message.as_str()), (-32600, reason), "{text}");
        }
    }

    #[test]
    fn what_was_sent_is_repeated_by_its_beginning_only() {
        let long = format!("\"{}\"", "ä".repeat(1_000_000));

        let refusal = refused(long.as_bytes());

        assert_eq!(
            refusal.message.chars().count(),
            "a message is a JSON object, found ".len() + 81
        );
    }

    #[test]
    fn a_cursor_that_is_no_string_is_not_taken_for_none() {
        let list = |cursor: &str| {
            format!(
                r#"{{"jsonrpc":"2.0","id":7,"method":"tools/list","params":{{"cursor":{cursor}}}}}"#
            )
        };

        let refusal = refused(list("[1]").as_bytes());

        assert_eq!((refusal.code, refusal.id.as_ref()), (-32602, Some(&json!(7))));
        assert_eq!(refusal.message, "`params.cursor` must be a string, found [1]");
        assert!(read(list("null").as_bytes()).is_ok());
        assert!(read(list("\"x\"").as_bytes()).is_ok());
    }

    #[test]
    fn a_refusal_names_the_request_it_answers_where_it_can() {
        let named = refused(br#"{"id":"a","method":"ping"}"#);
        let unnamed = refused(b"nonsense");

        assert!(String::from_utf8_lossy(&named.to_json()).contains(r#""id":"a""#));
        assert!(!String::from_utf8_lossy(&unnamed.to_json()).contains("\"id\""));
    }

    #[test]
    fn a_byte_order_mark_is_skipped() {
        assert!(read(b"\xEF\xBB\xBF{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}").is_ok());
    }
}
