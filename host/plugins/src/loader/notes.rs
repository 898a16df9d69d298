//! What a file says of itself to every tool for WebAssembly: custom sections of plain text at its top. Shown to people,
//! believed by nobody.

use wasmparser::{Parser, Payload};

use crate::text;

/// The sections that are shown, by the names of the WebAssembly tool conventions.
const SHOWN: [&str; 3] = ["licenses", "homepage", "authors"];

/// Returns the name and the text of each section that is there, the first of each name.
pub(super) fn notes(bytes: &[u8]) -> Vec<(String, String)> {
    let mut depth = 0_usize;
    let mut found: Vec<(String, String)> = Vec::new();
    for payload in Parser::new(0).parse_all(bytes) {
        // What cannot be parsed is told by the stage that has to.
        let Ok(payload) = payload else { break };
        match payload {
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::CustomSection(section) if depth == 0 => {
                let name = section.name();
                let is_new = found.iter().all(|(known, _)| known != name);
                if SHOWN.contains(&name) && is_new {
                    let said = text::line(&String::from_utf8_lossy(section.data()));
                    found.push((name.to_owned(), said));
                }
            }
            _ => {}
        }
    }
    found.sort_by_key(|(name, _)| SHOWN.iter().position(|shown| shown == name));
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_at_the_top_are_shown_clean_and_those_inside_are_not() {
        let text = r#"(component
            (@custom "authors" "Ada\1b[2J")
            (core module (@custom "homepage" "https://inside.example"))
            (@custom "licenses" "MIT")
            (@custom "licenses" "another")
            (@custom "other" "x"))"#;

        let found = notes(&wat::parse_str(text).expect("wat"));

        let pair = |name: &str, text: &str| (name.to_owned(), text.to_owned());
        assert_eq!(found, [pair("licenses", "MIT"), pair("authors", "Ada")]);
    }
}
