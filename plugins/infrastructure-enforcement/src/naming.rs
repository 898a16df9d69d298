//! What names, variables, addresses and paths look like. Whatever passes here can stand between single quotes in a
//! shell script, one to a line.

/// Answers whether a text can name a component.
pub(crate) fn is_name(text: &str) -> bool {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_' | '.');
    text.len() <= 64
        && text.starts_with(|letter: char| letter.is_ascii_alphabetic())
        && text.chars().all(plain)
}

/// Makes a name out of any text; nothing when nothing of it is left.
pub(crate) fn to_name(text: &str) -> Option<String> {
    let mut name = String::new();
    for letter in text.chars().take(64) {
        let letter = if letter.is_ascii_alphanumeric() || matches!(letter, '_' | '.') {
            letter
        } else {
            '-'
        };
        if !(letter == '-' && name.ends_with('-')) {
            name.push(letter.to_ascii_lowercase());
        }
    }
    let name = name.trim_matches(['-', '.', '_']);
    let name = name.trim_start_matches(|letter: char| !letter.is_ascii_alphabetic());
    is_name(name).then(|| name.to_owned())
}

/// Answers whether a text is the name of an environment variable.
pub(crate) fn is_variable(text: &str) -> bool {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    !text.is_empty()
        && text.len() <= 128
        && !text.starts_with(|letter: char| letter.is_ascii_digit())
        && text.chars().all(plain)
}

/// Answers whether a text is an address of the form `host:port`.
pub(crate) fn is_address(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else { return false };
    let plain = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_' | '.');
    !host.is_empty()
        && host.len() <= 253
        && host.chars().all(plain)
        && port.parse::<u16>().is_ok_and(|port| port > 0)
}

/// Answers whether a text is a path beneath the component.
pub(crate) fn is_path(text: &str) -> bool {
    let plain =
        |letter: char| !letter.is_control() && !matches!(letter, '\'' | '\\' | '"' | '`' | '$');
    !text.is_empty()
        && text.len() <= 512
        && !text.starts_with(['/', '-', '~'])
        && text.chars().all(plain)
        && text.split('/').all(|part| !matches!(part, "" | "." | ".."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_made_of_anything_that_has_letters() {
        assert_eq!(to_name("@Team/My App!").as_deref(), Some("team-my-app"));
        assert_eq!(to_name("42 Steps").as_deref(), Some("steps"));
        assert_eq!(to_name("☃"), None);
        assert!(is_name("notes-service") && !is_name("-x") && !is_name("a b") && !is_name(""));
    }

    #[test]
    fn nothing_that_a_shell_would_obey_passes() {
        for text in ["a'b", "a\nb", "../x", "/etc", "a//b", "-rf", "$(x)", "`x`", ""] {
            assert!(!is_path(text), "{text:?}");
        }
        assert!(is_path("proxy/nginx.conf") && is_path("a b/ä.txt"));
        assert!(
            is_address("db:5432")
                && !is_address("db")
                && !is_address("db:0")
                && !is_address("d b:1")
                && !is_address(":1")
        );
        assert!(
            is_variable("A_1") && !is_variable("1A") && !is_variable("A-B") && !is_variable("A;B")
        );
    }
}
