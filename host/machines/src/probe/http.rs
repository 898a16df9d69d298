//! One GET: status, headers, the beginning of the body.

use std::collections::BTreeMap;

use caelum_core::causes::chain;
use reqwest::Client;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{NoAnswer, millis};
use crate::web::{checked, code, read, shown};

pub(super) async fn fetch(
    client: &Client,
    url: &str,
    headers: &BTreeMap<String, String>,
    bytes_max: usize,
) -> Result<Value, NoAnswer> {
    let (parsed, headers) =
        checked(url, headers).map_err(|error| NoAnswer::new("invalid", error))?;
    let begun = Instant::now();
    let response = client
        .get(parsed)
        .headers(headers)
        .send()
        .await
        .map_err(|error| NoAnswer::new(code(&error), chain(&error)))?;
    let status = response.status().as_u16();
    let shown = shown(response.headers());
    let body = read(response, bytes_max, |_| ()).await;
    let mut answer = json!({
        "url": url,
        "status": status,
        "headers": shown,
        "body": String::from_utf8_lossy(&body.bytes),
        "body_bytes": body.bytes.len(),
        "body_truncated": body.truncated,
        "duration_ms": millis(begun.elapsed()),
    });
    if let Some(error) = body.error {
        answer["body_error"] = error.into();
    }
    Ok(answer)
}
