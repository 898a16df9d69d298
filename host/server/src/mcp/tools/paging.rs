//! Pages of lists that are kept in memory, sorted by name: the cursor is the last name that was shown, so it stays right
//! while things come and go.

use serde::Serialize;

use super::super::error::ToolError;
use super::answer::fitting;

/// One page of a list.
#[derive(Debug)]
pub(super) struct NamedPage<T> {
    /// The items, in the order of their names.
    pub(super) items: Vec<T>,
    /// The cursor of the next page, when there is one.
    pub(super) next_cursor: Option<String>,
}

/// Takes a page out of all items: those behind the cursor, at most `limit`, and no more than fit into so many bytes of
/// JSON (but one at least).
pub(super) fn page<T: Serialize>(
    mut items: Vec<T>,
    name: impl Fn(&T) -> String,
    (limit, bytes_max): (usize, usize),
    cursor: Option<&str>,
) -> Result<NamedPage<T>, ToolError> {
    items.sort_by_key(&name);
    if let Some(cursor) = cursor {
        let last = cursor.strip_prefix(MARK).ok_or_else(|| bad_cursor(cursor))?;
        items.retain(|item| name(item).as_str() > last);
    }
    let shown = fitting(&items, 0, bytes_max).min(limit);
    let next_cursor = items
        .get(shown.wrapping_sub(1))
        .filter(|_| shown < items.len())
        .map(|last| format!("{MARK}{}", name(last)));
    items.truncate(shown);
    Ok(NamedPage { items, next_cursor })
}

/// What cursors of such lists begin with.
const MARK: &str = "after:";

fn bad_cursor(cursor: &str) -> ToolError {
    let shown: String = cursor.chars().take(40).collect();
    ToolError::new("cursor", format!("`{shown}` is not a cursor of this list"))
        .hint("pass `next_cursor` of the page before, or none")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(count: usize) -> Vec<String> {
        (0..count).map(|number| format!("n{number}")).collect()
    }

    #[test]
    fn pages_hold_everything_once_while_things_come_and_go() {
        let first = page(names(5), String::clone, (2, 10_000), None).expect("no cursor");
        let mut now = names(5);
        // What was shown last has gone, and something came before it.
        now.retain(|name| name != "n1");
        now.push("a".to_owned());
        let cursor = first.next_cursor.as_deref();

        let second = page(now.clone(), String::clone, (2, 10_000), cursor).expect("its cursor");
        let cursor = second.next_cursor.as_deref();
        let last = page(now, String::clone, (2, 10_000), cursor).expect("its cursor");

        assert_eq!(first.items, ["n0", "n1"]);
        assert_eq!(second.items, ["n2", "n3"]);
        assert_eq!((last.items, last.next_cursor), (vec!["n4".to_owned()], None));
    }

    #[test]
    fn what_does_not_fit_comes_on_the_next_page_and_one_item_always_comes() {
        let items = vec!["x".repeat(100), "y".repeat(10)];

        let first = page(items, String::clone, (10, 5), None).expect("no cursor");

        assert_eq!(first.items.len(), 1);
        assert!(first.next_cursor.is_some());
    }

    #[test]
    fn a_cursor_of_another_list_is_refused_and_an_empty_list_has_none() {
        let refused = page(names(2), String::clone, (1, 100), Some("w1f")).expect_err("not ours");
        let empty = page(Vec::<String>::new(), String::clone, (1, 100), None).expect("no cursor");

        assert!(refused.text().contains("`w1f` is not a cursor"), "{}", refused.text());
        assert_eq!(empty.next_cursor, None);
    }
}
