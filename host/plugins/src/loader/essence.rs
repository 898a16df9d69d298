//! What of a component decides which code is made of it: everything but the custom sections at its top, which name and
//! describe it. The same work is not done again because a file was told who it is.

use bytes::Bytes;
use wasmparser::BinaryReader;

/// Magic number and version: what every file begins with.
const HEADER_BYTES: usize = 8;

/// The number of a custom section.
const CUSTOM: u8 = 0;

/// Returns a component without the custom sections at its top. What cannot be read so comes back as it is; the compiler
/// will say more.
pub(crate) fn essence(component: Bytes) -> Bytes {
    match without_custom_sections(&component) {
        Some(bare) => Bytes::from(bare),
        None => component,
    }
}

fn without_custom_sections(component: &[u8]) -> Option<Vec<u8>> {
    let mut bare = component.get(..HEADER_BYTES)?.to_owned();
    let mut sections = BinaryReader::new(component.get(HEADER_BYTES..)?, HEADER_BYTES);
    while !sections.eof() {
        let number = sections.read_u8().ok()?;
        let length = sections.read_var_u32().ok()?;
        let content = sections.read_bytes(usize::try_from(length).ok()?).ok()?;
        if number != CUSTOM {
            bare.push(number);
            // In the one shortest form, whoever has written the section.
            push_length(&mut bare, length);
            bare.extend_from_slice(content);
        }
    }
    Some(bare)
}

fn push_length(bytes: &mut Vec<u8>, mut length: u32) {
    loop {
        let low = (length & 0x7f) as u8;
        length >>= 7;
        if length == 0 {
            bytes.push(low);
            return;
        }
        bytes.push(low | 0x80);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn component(text: &str) -> Bytes {
        Bytes::from(wat::parse_str(format!("(component {text})")).expect("wat"))
    }

    #[test]
    fn what_describes_a_component_is_not_of_its_essence_and_everything_else_is() {
        let bare = component("(core module (func))");
        let named = component(r#"(@custom "version" "1") (core module (func)) (@custom "x" "y")"#);
        let inside = component(r#"(core module (@custom "x" "y") (func))"#);

        assert_eq!(essence(named), essence(bare.clone()));
        assert_ne!(essence(inside), essence(bare.clone()), "a compiler may read it");
        assert_eq!(essence(bare.clone()), bare);
    }

    #[test]
    fn a_length_is_written_in_its_shortest_form() {
        let mut long = component("").to_vec();
        long.extend([1, 0x82, 0x80, 0, 7, 8]);
        let mut short = component("").to_vec();
        short.extend([1, 2, 7, 8]);

        assert_eq!(essence(Bytes::from(long)), Bytes::from(short));
    }

    #[test]
    fn what_is_cut_off_comes_back_as_it_is() {
        let whole = component(r#"(core module (func)) (@custom "x" "y")"#);
        for length in [0, 4, HEADER_BYTES + 1, whole.len() - 1] {
            let cut = whole.slice(..length);
            assert_eq!(essence(cut.clone()), cut, "{length}");
        }
    }
}
