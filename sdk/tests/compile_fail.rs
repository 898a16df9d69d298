//! What the compiler tells an author whose plugin is not one. The texts are golden files: a change of them is reviewed
//! like code, and a new compiler may need them written anew (`TRYBUILD=overwrite cargo test -p caelum-sdk --test
//! compile_fail`).

#[test]
fn mistakes_are_told_in_words_that_help() {
    let cases = trybuild::TestCases::new();
    cases.compile_fail("tests/compile_fail/*.rs");
}
