//! Lists in pages: newest first, and a cursor that stays right while things are added.

use crate::StoreError;

/// The most items of one page.
pub const PAGE_MAX: u32 = 1_000;

/// Which part of a list is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageRequest {
    /// How many items at most: 1 to [`PAGE_MAX`]; other numbers are moved to the nearest of these.
    pub limit: u32,
    /// `next` of the page before; nothing means the newest items.
    pub cursor: Option<String>,
}

impl PageRequest {
    /// Asks for the newest items.
    pub fn first(limit: u32) -> Self {
        PageRequest { limit, cursor: None }
    }
}

/// A part of a list.
#[derive(Debug, Clone, PartialEq)]
pub struct Page<T> {
    /// The items, newest first.
    pub items: Vec<T>,
    /// The cursor of the next page; nothing when this is the last.
    pub next: Option<String>,
}

/// A page as the queries see it: rows with a key below `before`, one more than is shown.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Window {
    pub(crate) before: i64,
    limit: usize,
    list: char,
}

impl Window {
    /// Reads a request for the list that `list` marks.
    pub(crate) fn of(request: &PageRequest, list: char) -> Result<Self, StoreError> {
        let limit = request.limit.clamp(1, PAGE_MAX) as usize;
        let Some(cursor) = &request.cursor else {
            return Ok(Window { before: i64::MAX, limit, list });
        };
        let before = cursor
            .strip_prefix(list)
            .filter(|digits| {
                digits.len() <= 16 && digits.bytes().all(|digit| digit.is_ascii_hexdigit())
            })
            .and_then(|digits| i64::from_str_radix(digits, 16).ok())
            .filter(|before| *before > 0);
        match before {
            Some(before) => Ok(Window { before, limit, list }),
            None => {
                let cursor = cursor.chars().take(40).flat_map(char::escape_debug).collect();
                Err(StoreError::BadCursor { cursor })
            }
        }
    }

    /// Returns how many rows to ask for.
    pub(crate) fn rows(&self) -> i64 {
        self.limit as i64 + 1
    }

    /// Makes the page from the rows that came, each with its key.
    pub(crate) fn page<T>(&self, mut rows: Vec<(i64, T)>) -> Page<T> {
        let more = rows.len() > self.limit;
        rows.truncate(self.limit);
        let next = rows.last().filter(|_| more).map(|(key, _)| format!("{}{key:x}", self.list));
        Page { items: rows.into_iter().map(|(_, item)| item).collect(), next }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_of_another_list_or_of_nobody_is_refused() {
        for cursor in ["", "w", "x1", "w-1", "w0", "wzz", "w11111111111111111", "w+1", "w 1"] {
            let request = PageRequest { limit: 10, cursor: Some(cursor.to_owned()) };
            assert!(
                matches!(Window::of(&request, 'w'), Err(StoreError::BadCursor { .. })),
                "{cursor:?}"
            );
        }
        let request = PageRequest { limit: 0, cursor: Some("w1f".to_owned()) };
        let window = Window::of(&request, 'w').expect("a cursor of this list");
        assert_eq!((window.before, window.rows()), (31, 2));
    }

    #[test]
    fn the_last_page_has_no_cursor() {
        let window = Window::of(&PageRequest::first(2), 'w').expect("no cursor");
        let full = window.page(vec![(31, 'a'), (30, 'b'), (29, 'c')]);
        assert_eq!((full.items, full.next.as_deref()), (vec!['a', 'b'], Some("w1e")));
        assert_eq!(window.page(vec![(31, 'a'), (30, 'b')]).next, None);
    }
}
