//! Reads JSON or YAML text into a value, within bounds; which of the two it is, the text itself says.

use serde_json::Value;
use serde_saphyr::{Budget, Options};

use super::DocumentError;

/// The largest document that is read, in bytes: 4 MiB, which is 400 bytes for each of the 10,000 steps a workflow may
/// have, and what a request to the server may hold.
pub const DOCUMENT_BYTES_MAX: usize = 4 * 1024 * 1024;

/// How deep a document may be nested; the schema needs 8 levels, parameters are the author's.
const DEPTH_MAX: usize = 64;

/// How many values a document may hold once its aliases are written out.
const NODES_MAX: usize = 500_000;

/// How much of it may come from aliases.
const REPLAYED_MAX: usize = 50_000;

/// What a document is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// JSON.
    Json,
    /// YAML.
    Yaml,
}

impl Format {
    /// Returns the name for people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Json => "JSON",
            Self::Yaml => "YAML",
        }
    }
}

/// Parses a text: JSON when it begins like a JSON object or array, YAML otherwise.
pub(super) fn parse(text: &str) -> Result<Value, DocumentError> {
    if text.len() > DOCUMENT_BYTES_MAX {
        return Err(DocumentError::TooLarge { bytes: text.len() });
    }
    parse_within(text, DOCUMENT_BYTES_MAX)
}

/// Parses a text whose size the caller has checked, and which holds about so many bytes.
pub(super) fn parse_within(text: &str, bytes_max: usize) -> Result<Value, DocumentError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if text.trim_start().starts_with(['{', '[']) {
        return serde_json::from_str(text).map_err(|error| DocumentError::Syntax {
            format: Format::Json,
            message: error.to_string(),
        });
    }
    serde_saphyr::from_str_with_options(text, options(bytes_max)).map_err(|error| {
        DocumentError::Syntax { format: Format::Yaml, message: error.without_snippet().to_string() }
    })
}

fn options(bytes_max: usize) -> Options {
    // Of what is larger than a document, everything may be in proportion.
    let times = bytes_max.div_ceil(DOCUMENT_BYTES_MAX).max(1);
    let mut budget = Budget::default();
    budget.max_depth = DEPTH_MAX;
    budget.flow_nesting_limit = DEPTH_MAX;
    budget.max_documents = 1;
    budget.max_nodes = times * NODES_MAX;
    budget.max_events = 2 * times * NODES_MAX;
    budget.max_aliases = 1_000;
    budget.max_anchors = 1_000;
    budget.max_total_scalar_bytes = 2 * times * DOCUMENT_BYTES_MAX;
    let mut options = Options::default();
    options.budget = Some(budget);
    options.alias_limits.max_total_replayed_events = REPLAYED_MAX;
    options.strict_booleans = true;
    options.with_snippet = false;
    options
}
