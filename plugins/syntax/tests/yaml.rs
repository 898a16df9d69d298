//! YAML as people write it, and as nobody should.

use caelum_plugin_syntax::position::Position;
use caelum_plugin_syntax::splice;
use caelum_plugin_syntax::yaml::insert::{Fragment, new_entry};
use caelum_plugin_syntax::yaml::{Kind, YamlError, YamlFile};
use proptest::prelude::*;

fn parse(text: &str) -> YamlFile {
    YamlFile::parse(text).expect("the text is YAML")
}

/// Adds `new` with a nested value to the mapping at a path and returns the whole text.
fn added(text: &str, path: &[&str]) -> Option<String> {
    let file = parse(text);
    let mapping = file.root().expect("has a root").path(path).expect("the path is there");
    let value = Fragment::map([
        ("test", Fragment::line(["CMD", "a \"b\""])),
        ("deep", Fragment::map([("every", Fragment::text("30s"))])),
    ]);
    let splice = new_entry(mapping, "new", &value)?;
    Some(splice::apply(text, &[splice]).expect("lies in the text"))
}

#[test]
fn nodes_know_where_they_stand() {
    let text = "\u{feff}# ä\r\na: &x {k: 'v', l: [1, 2]}\r\nb:\r\n  - *x\r\n  - |\r\n    text\r\n\r\nc: !tag plain # c\r\n";
    let file = parse(text);
    let root = file.root().expect("has a root");

    let value = root.path(&["a", "k"]).expect("is there");
    assert_eq!((value.as_str(), value.position()), (Some("v"), Position { line: 2, column: 11 }));
    assert_eq!(&text[value.span()], "'v'");
    let a = root.get("a").expect("is there");
    assert_eq!(&text[a.span()], "{k: 'v', l: [1, 2]}");
    let items = root.get("b").expect("is there").items();
    assert!(items[0].is_alias());
    assert_eq!(&text[items[0].span()], "*x");
    assert_eq!(items[0].get("k").and_then(|node| node.as_str()), Some("v"));
    assert_eq!(&text[items[1].span()], "text");
    let c = root.get("c").expect("is there");
    assert_eq!((c.tag(), &text[c.span()], c.position().line), (Some("!tag"), "plain", 8));
}

#[test]
fn merge_keys_bring_in_what_is_not_there() {
    let text = "x: &x {a: 1, b: 1}\ny: &y\n  <<: *x\n  b: 2\nz:\n  <<: [*y, *x]\n  c: 3\n";
    let file = parse(text);
    let z = file.root().and_then(|root| root.get("z")).expect("is there");
    let pairs: Vec<_> =
        z.merged_entries().iter().map(|entry| (entry.key.as_str(), entry.value.as_str())).collect();
    assert_eq!(pairs, [(Some("c"), Some("3")), (Some("b"), Some("2")), (Some("a"), Some("1"))]);
    assert_eq!(z.entries().len(), 1);
}

#[test]
fn nothing_is_null_and_quotes_make_text() {
    let file = parse("a:\nb: ~\nc: \"\"\nd: 'no'\ne: no\nf: *missing\n---\nsecond: 1\n");
    let root = file.root().expect("has a root");
    let kind = |key: &str| root.get(key).expect("is there").kind();
    assert_eq!(
        [kind("a"), kind("b"), kind("c"), kind("f")],
        [Kind::Null, Kind::Null, Kind::Scalar, Kind::Null]
    );
    assert_eq!(root.get("d").and_then(|node| node.as_bool()), None);
    assert_eq!(root.get("e").and_then(|node| node.as_bool()), Some(false));
    assert_eq!(file.documents().count(), 2);
}

#[test]
fn faults_have_a_place() {
    let error = YamlFile::parse("a: 1\nb: [1, 2\nc: 3\n").expect_err("a bracket is open");
    let YamlError::Syntax { at, .. } = &error else { panic!("{error}") };
    assert!(at.line >= 2, "{error}");
    assert!(matches!(YamlFile::parse(&"[".repeat(100)), Err(YamlError::Syntax { .. })));
    assert!(matches!(
        YamlFile::parse(&"a".repeat(2_000_000)),
        Err(YamlError::TooLarge { bytes: 2_000_000 })
    ));
}

#[test]
fn a_block_gets_its_entry_behind_the_last_one() {
    let text =
        "s:\n    web: # the web\n        image: x # tail\n        # about nothing\n\nother: 1\n";
    assert_eq!(
        added(text, &["s", "web"]).expect("can be added"),
        "s:\n    web: # the web\n        image: x # tail\n        new:\n            test: [\"CMD\", \"a \\\"b\\\"\"]\n            \
         deep:\n                every: 30s\n        # about nothing\n\nother: 1\n"
    );
}

#[test]
fn line_ends_and_their_absence_are_kept() {
    let text = "a:\r\n  b: 1";
    assert_eq!(
        added(text, &["a"]).expect("can be added"),
        "a:\r\n  b: 1\r\n  new:\r\n    test: [\"CMD\", \"a \\\"b\\\"\"]\r\n    deep:\r\n      every: 30s"
    );
}

#[test]
fn flow_mappings_stay_on_their_line() {
    let text = "a: {b: 1, c: [x,\n  y], } # tail\nd: {}\n";
    assert_eq!(
        added(text, &["a"]).expect("can be added"),
        "a: {b: 1, c: [x,\n  y], new: {test: [\"CMD\", \"a \\\"b\\\"\"], deep: {every: 30s}}, } # tail\nd: {}\n"
    );
    assert_eq!(
        added(text, &["d"]).expect("can be added"),
        "a: {b: 1, c: [x,\n  y], } # tail\nd: {new: {test: [\"CMD\", \"a \\\"b\\\"\"], deep: {every: 30s}}}\n"
    );
}

#[test]
fn entries_behind_sequences_block_texts_and_dashes_land_right() {
    for text in [
        "a:\n  b:\n  - 1\n  - 2\nz: 1\n",
        "a:\n  b: |\n    text\n\n    more\n\nz: 1\n",
        "a:\n  b: >-\n    text\n# end\n",
        "a:\n  b: 'two\n\n    lines'\nz: 1\n",
        "a:\n  b: plain\n    goes on\nz: 1\n",
        "a:\n  b:\nz: 1\n",
        "a:\n  ? b\n  : 1\nz: 1\n",
        "a:\n  b: &anchor\n    c: 1\nz: *anchor\n",
    ] {
        let result = added(text, &["a"]).unwrap_or_else(|| panic!("cannot be added to {text:?}"));
        let file = parse(&result);
        let new = file
            .root()
            .and_then(|root| root.path(&["a", "new", "deep", "every"]))
            .expect("is there");
        assert_eq!(new.as_str(), Some("30s"), "{result}");
    }
}

#[test]
fn what_cannot_be_changed_alone_is_left_alone() {
    // The value of an alias belongs to its anchor; a text that keeps its blank lines would lose one.
    assert_eq!(added("a: &x\n  b: 1\nc: *x\n", &["c"]), None);
    assert_eq!(added("a:\n  new: 1\n", &["a"]), None);
    assert_eq!(added("a: text\n", &["a"]), None);
    let kept = added("a:\n  b: |+\n    text\n\nz: 1\n", &["a"]);
    assert!(kept.is_none_or(|text| text.contains("text\n\n")));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(256) })]

    #[test]
    fn no_text_makes_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let text = String::from_utf8_lossy(&bytes);
        if let Ok(file) = YamlFile::parse(&text) {
            file.leaves();
        }
    }

    #[test]
    fn whatever_reads_can_be_added_to_or_is_left_alone(
        words in proptest::collection::vec(
            prop::sample::select(vec![
                "a", "b", ": ", ":", "\n", "\n  ", "\n    ", "- ", "&x ", "*x", "{", "}", "[", "]", ", ", "|", ">",
                "'", "\"", "# c", "<<: ", "!t ", "? ", "---\n", "\r\n", "é", "...\n", "\t",
            ]),
            0..40,
        )
    ) {
        let text = words.concat();
        if let Ok(file) = YamlFile::parse(&text) {
            for root in file.documents() {
                let span = root.span();
                prop_assert!(text.get(span).is_some());
                root.merged_entries();
                for node in std::iter::once(root).chain(root.entries().into_iter().map(|entry| entry.value)) {
                    if let Some(splice) = new_entry(node, "new", &Fragment::text("1")) {
                        let changed = splice::apply(&text, &[splice]).expect("lies in the text");
                        prop_assert!(YamlFile::parse(&changed).is_ok());
                    }
                }
            }
        }
    }
}
