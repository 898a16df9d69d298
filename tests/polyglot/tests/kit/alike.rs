//! Every language answers alike: who it is, every case, twice the same.

use caelum_polyglot::{Language, PATTERN, VALIDATOR};

use crate::ask::Kit;
use crate::case::Case;
use crate::shown;

#[tokio::test]
async fn every_language_describes_itself_alike() {
    let rust = Kit::of(Language::Rust).await;
    for language in Language::here() {
        let kit = Kit::of(language).await;
        for (one, other) in [(&kit.validator, &rust.validator), (&kit.pattern, &rust.pattern)] {
            let (one, other) =
                (shown::description(one.description()), shown::description(other.description()));
            assert_eq!(one, other, "{language}");
        }
    }
}

#[tokio::test]
async fn every_language_judges_every_case_alike_and_twice_the_same() {
    for language in Language::here() {
        let kit = Kit::of(language).await;
        for case in Case::of(VALIDATOR) {
            let (answer, report) = kit.judge(&case.given).await;
            case.expect(language.word(), &answer);

            let (again, once_more) = kit.judge(&case.given).await;
            assert_eq!(again.to_string(), answer.to_string(), "{language}, once more");
            assert_eq!(
                (once_more.host_calls, once_more.bytes_read),
                (report.host_calls, report.bytes_read),
                "{language}, once more: {}",
                case.given.about
            );
        }
    }
}

#[tokio::test]
async fn every_language_plans_every_case_alike_and_twice_the_same() {
    for language in Language::here() {
        let kit = Kit::of(language).await;
        for case in Case::of(PATTERN) {
            let answer = kit.propose(&case.given).await;
            case.expect(language.word(), &answer);

            let again = kit.propose(&case.given).await;
            assert_eq!(again.to_string(), answer.to_string(), "{language}, once more");
        }
    }
}
