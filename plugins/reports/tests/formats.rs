//! Reports as runners write them, and the traps in them.

use caelum_plugin_reports::{
    Case, CaseStatus, Format, Report, ReportError, cargo_build_faults, detect, parse,
};
use proptest::prelude::*;

fn read(text: &str, format: Format) -> Report {
    assert_eq!(detect(text), Some(format), "{text}");
    parse(text, format).expect("can be read")
}

fn counts(report: &Report) -> [u64; 4] {
    let totals = report.totals;
    [totals.passed, totals.failed, totals.errors, totals.skipped]
}

fn place(case: &Case) -> String {
    format!("{}:{}", case.file.as_deref().unwrap_or("?"), case.line.unwrap_or(0))
}

#[test]
fn pytest_junit_is_counted_by_its_cases() {
    let text = r#"<?xml version="1.0" encoding="utf-8"?>
<testsuites name="pytest tests"><testsuite name="pytest" errors="1" failures="1" skipped="1" tests="4" time="0.123">
<testcase classname="tests.test_a" name="test_ok" time="0.001" />
<testcase classname="tests.test_a" name="test_bad[1&lt;2]" time="1,200.5"><failure message="assert 1 == 2">def test_bad():
&gt;       assert 1 == 2
E       assert 1 == 2

tests/test_a.py:7: AssertionError</failure></testcase>
<testcase classname="tests.test_a" name="test_skip"><skipped type="pytest.skip" message="no db">x</skipped></testcase>
<testcase classname="tests.test_a" name="test_error"><error message="failed on setup with &quot;x&quot;"><![CDATA[tests/conftest.py:3: <Error>]]></error></testcase>
</testsuite></testsuites>"#;

    let report = read(text, Format::JunitXml);

    assert_eq!(counts(&report), [1, 1, 1, 1]);
    assert_eq!(report.contradictions, [""; 0]);
    let failing: Vec<_> = report.failing().collect();
    assert_eq!(
        (failing[0].name.as_str(), place(failing[0])),
        ("test_bad[1<2]", "tests/test_a.py:7".to_owned())
    );
    assert_eq!(failing[0].duration_ms, Some(1_200_500));
    assert!(
        failing[0].message.as_deref().is_some_and(|message| message.starts_with("assert 1 == 2"))
    );
    assert_eq!(place(failing[1]), "tests/conftest.py:3");
}

#[test]
fn nextest_and_surefire_retries_are_flaky_and_no_failures() {
    let text = r#"<testsuites tests="2" failures="1" errors="0"><testsuite name="c::it" tests="2" failures="1" errors="0">
<testcase name="a" classname="c::it"><flakyFailure message="boom" type="test failure">x<stackTrace>y</stackTrace></flakyFailure></testcase>
<testcase name="b" classname="c::it"><failure type="test failure">thread 'b' panicked at src/lib.rs:3:5:
left</failure><rerunFailure type="x"/></testcase></testsuite></testsuites>"#;

    let report = read(text, Format::JunitXml);

    assert_eq!(counts(&report), [1, 1, 0, 0]);
    assert!(report.cases[0].flaky && !report.cases[1].flaky);
    assert_eq!(place(&report.cases[1]), "src/lib.rs:3");
    assert_eq!(report.contradictions, [""; 0]);
}

#[test]
fn jest_gotestsum_and_phpunit_suites_are_read() {
    let jest = r#"<testsuites name="jest tests" tests="2" failures="0" errors="0"><testsuite name="sum" tests="1" failures="0" errors="0"><testcase classname="sum adds" name="sum adds" time="0.003"/></testsuite><testsuite name="x" tests="1" failures="0" errors="0"><testcase name="y"><skipped/></testcase></testsuite></testsuites>"#;
    assert_eq!(counts(&read(jest, Format::JunitXml)), [1, 0, 0, 1]);

    let nested = r#"<testsuites><testsuite name="All" tests="2" failures="0"><testsuite name="A" tests="2" failures="0"><testcase name="a" file="/t/A.php" line="12"/><testcase name="b"/></testsuite></testsuite></testsuites>"#;
    let report = read(nested, Format::JunitXml);
    assert_eq!((counts(&report), report.contradictions.len()), ([2, 0, 0, 0], 0));
    assert_eq!(place(&report.cases[0]), "/t/A.php:12");

    let google = r#"<testsuites tests="2" failures="0" disabled="1"><testsuite name="S" tests="2" failures="0"><testcase name="a" status="run" result="completed"/><testcase name="DISABLED_b" status="notrun" result="suppressed"/></testsuite></testsuites>"#;
    assert_eq!(counts(&read(google, Format::JunitXml)), [1, 0, 0, 1]);
}

#[test]
fn totals_that_contradict_the_cases_are_told() {
    let text = r#"<testsuite name="s" tests="9" failures="0" errors="0"><testcase name="a"><failure/></testcase></testsuite>"#;
    let report = read(text, Format::JunitXml);
    assert_eq!(
        report.contradictions,
        [
            "`s` declares 9 tests and holds 1 cases",
            "`s` declares 0 failures and errors, and 1 of its cases failed"
        ]
    );
}

#[test]
fn a_failure_attribute_or_output_is_no_failure() {
    let text = r#"<testsuite tests="1"><testcase name="a" failure="none"><system-out>&lt;failure/&gt; FAILED</system-out><properties><property name="failure"><failure/></property></properties></testcase></testsuite>"#;
    assert_eq!(counts(&read(text, Format::JunitXml)), [1, 0, 0, 0]);
}

#[test]
fn hostile_xml_is_refused() {
    let bomb = "<?xml version=\"1.0\"?><!DOCTYPE x [<!ENTITY a \"aaaa\"><!ENTITY b \"&a;&a;\">]><testsuite>&b;</testsuite>";
    assert_eq!(detect(bomb), Some(Format::JunitXml));
    assert_eq!(
        parse(bomb, Format::JunitXml),
        Err(ReportError::ForbiddenXml { what: "declares a document type" })
    );
    let entity = "<testsuite><testcase name=\"&evil;\"/></testsuite>";
    assert_eq!(
        parse(entity, Format::JunitXml),
        Err(ReportError::ForbiddenXml { what: "uses entities of its own" })
    );
    let deep = format!("<testsuite>{}", "<a>".repeat(100_000));
    assert!(matches!(parse(&deep, Format::JunitXml), Err(ReportError::Malformed { .. })));
    for cut in [
        "<testsuite tests=\"1\"><testcase name=\"a\"/>",
        "<testsuite><testcase na",
        "<testsuite><![CDATA[x",
    ] {
        assert!(matches!(parse(cut, Format::JunitXml), Err(ReportError::CutOff { .. })), "{cut}");
    }
    assert!(matches!(parse("<html></html>", Format::JunitXml), Err(ReportError::Malformed { .. })));
    assert_eq!(detect("<html><body>testsuite</body></html>"), None);
}

const CARGO: &str = "   Compiling x v0.1.0
     Running unittests src/lib.rs (target/debug/deps/x-abc)

running 3 tests
test tests::a ... ok
test tests::b ... FAILED
test tests::c ... ignored, needs a database

failures:

---- tests::b stdout ----
running 5 tests
test result: ok. 99 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s

thread 'tests::b' (4711) panicked at src/lib.rs:12:9:
assertion `left == right` failed
  left: 1
 right: 2
note: run with `RUST_BACKTRACE=1` environment variable to display a backtrace


failures:
    tests::b

test result: FAILED. 1 passed; 1 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.01s

   Doc-tests x

running 1 test
test src/lib.rs - double (line 3) ... ok

test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.21s
";

#[test]
fn a_faked_summary_in_captured_output_fools_nobody() {
    let report = read(CARGO, Format::CargoTestText);

    assert_eq!(counts(&report), [2, 1, 0, 1]);
    assert_eq!((report.unfinished.as_deref(), report.contradictions.len()), (None, 0));
    let failed = report.failing().next().expect("one failed");
    assert_eq!(
        (failed.full_name().as_str(), place(failed).as_str()),
        ("src/lib.rs::tests::b", "src/lib.rs:12")
    );
    assert_eq!(
        failed.message.as_deref(),
        Some("assertion `left == right` failed | left: 1 | right: 2")
    );
    let doc = report.cases.last().expect("there are cases");
    assert_eq!((doc.suite.as_deref(), doc.line), (Some("doc-tests x"), Some(3)));
}

#[test]
fn a_summary_without_its_cases_is_a_contradiction() {
    let text = "running 2 tests\ntest a ... ok\ntest result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s\n";
    let report = read(text, Format::CargoTestText);
    assert_eq!(counts(&report), [1, 0, 0, 0]);
    assert_eq!(report.contradictions.len(), 1);
    assert_eq!(
        report.unfinished.as_deref(),
        Some(
            "the output ends before the summary of a test binary (a test binary: 1 of 2 cases were reported)"
        )
    );
}

#[test]
fn output_between_name_and_end_is_passed_over() {
    let text = "running 2 tests\ntest a ... hello\ntest result: ok. 7 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out\nok\ntest b ... ok\n\ntest result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s\n";
    let report = read(text, Format::CargoTestText);
    assert_eq!((counts(&report), report.unfinished), ([2, 0, 0, 0], None));
}

#[test]
fn quiet_output_is_counted_by_its_letters() {
    let text = "\nrunning 4 tests\n..iF\nfailures:\n\n---- x stdout ----\nboom\n\nfailures:\n    x\n\ntest result: FAILED. 2 passed; 1 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s\n\n";
    let report = read(text, Format::CargoTestText);
    assert_eq!((counts(&report), report.names_all, report.unfinished), ([2, 1, 0, 1], false, None));
}

#[test]
fn zero_tests_are_zero_tests() {
    let line = "\nrunning 0 tests\n\ntest result: ok. 0 passed; 0 failed; 0 ignored; 0 measured; 3 filtered out; finished in 0.00s\n";
    let report = read(&line.repeat(3), Format::CargoTestText);
    assert_eq!((counts(&report), report.unfinished), ([0, 0, 0, 0], None));
}

#[test]
fn errors_of_a_build_are_found() {
    let stderr = "error[E0308]: mismatched types\n --> src/lib.rs:4:5\n  |\nerror: could not compile `x` (lib test) due to 1 previous error\n";
    let faults = cargo_build_faults(stderr);
    assert_eq!(
        (faults.len(), faults[0].code, faults[0].file.as_deref(), faults[0].line),
        (1, "compile-error", Some("src/lib.rs"), Some(4))
    );
    let crash = "error: test failed, to rerun pass `--lib`\n\nCaused by:\n  process didn't exit successfully: `/t/x-1` (signal: 6, SIGABRT: process abort signal)\n";
    assert_eq!(cargo_build_faults(crash)[0].code, "crash");
    assert_eq!(cargo_build_faults("error[E0308]: quoted by a test\n"), []);
}

#[test]
fn tap_knows_todo_skip_subtests_and_diagnostics() {
    let text = "TAP version 14
# Subtest: math
    # Subtest: adds
    ok 1 - adds
      ---
      duration_ms: 0.7
      ...
    # Subtest: divides
    not ok 2 - divides
      ---
      duration_ms: 1.2
      location: '/app/math.test.js:9:3'
      error: 'Expected values to be strictly equal'
      ...
    1..2
not ok 1 - math
  ---
  error: '1 subtest failed'
  ...
ok 2 - later # SKIP no network
not ok 3 - known # TODO one day
1..3
";
    let report = read(text, Format::Tap);
    assert_eq!(counts(&report), [1, 1, 0, 2]);
    assert_eq!((report.unfinished.as_deref(), report.contradictions.len()), (None, 0));
    let failed = report.failing().next().expect("one failed");
    assert_eq!((failed.name.as_str(), place(failed).as_str()), ("divides", "/app/math.test.js:9"));
    assert_eq!(failed.message.as_deref(), Some("Expected values to be strictly equal"));
}

#[test]
fn tap_without_its_plan_is_unfinished() {
    assert!(read("TAP version 13\nok 1\nok 2\n", Format::Tap).unfinished.is_some());
    assert!(read("1..3\nok 1\nok 2\n", Format::Tap).unfinished.is_some());
    assert_eq!(read("1..1\nok 1\nok 1\n", Format::Tap).contradictions.len(), 2);
    let bailed = read("1..3\nok 1\nBail out! no database\nok 2\n", Format::Tap);
    assert_eq!((counts(&bailed), bailed.faults[0].code), ([1, 0, 0, 0], "bail-out"));
    assert_eq!(counts(&read("1..0 # SKIP not here\n", Format::Tap)), [0, 0, 0, 1]);
}

#[test]
fn go_events_are_put_together() {
    let text = r#"{"Action":"start","Package":"p"}
{"Action":"run","Package":"p","Test":"TestA"}
{"Action":"output","Package":"p","Test":"TestA","Output":"=== RUN   TestA\n"}
{"Action":"output","Package":"p","Test":"TestA","Output":"    a_test.go:7: got 2\n"}
{"Action":"fail","Package":"p","Test":"TestA","Elapsed":0.01}
{"Action":"pass","Package":"p","Test":"TestB","Elapsed":0}
{"Action":"run","Package":"p","Test":"TestC"}
{"Action":"fail","Package":"p","Elapsed":0.1}
{"Action":"start","Package":"q"}
{"Action":"output","Package":"q","Output":"q.go:3: undefined: x\n"}
{"Action":"fail","Package":"q","Elapsed":0}
{"Action":"start","Package":"r"}
"#;
    let report = read(text, Format::GoTestJson);
    assert_eq!(counts(&report), [1, 1, 1, 0]);
    let failed = report.failing().next().expect("one failed");
    assert_eq!(
        (place(failed).as_str(), failed.message.as_deref()),
        ("a_test.go:7", Some("a_test.go:7: got 2"))
    );
    assert_eq!((report.faults.len(), report.faults[0].code), (1, "package-failed"));
    assert_eq!(report.unfinished.as_deref(), Some("the package `r` never ended"));
}

#[test]
fn libtest_events_are_put_together() {
    let text = r#"{ "type": "suite", "event": "started", "test_count": 2 }
{ "type": "test", "event": "started", "name": "a" }
{ "type": "test", "name": "a", "event": "ok", "exec_time": 0.002 }
{ "type": "test", "name": "b", "event": "failed", "stdout": "thread 'b' panicked at src/lib.rs:9:5:\nboom\n" }
{ "type": "suite", "event": "failed", "passed": 1, "failed": 1, "ignored": 0, "measured": 0, "filtered_out": 0 }
"#;
    let report = read(text, Format::LibtestJson);
    assert_eq!((counts(&report), report.contradictions.len()), ([1, 1, 0, 0], 0));
    assert_eq!(place(&report.cases[1]), "src/lib.rs:9");
}

#[test]
fn python_summaries_count_at_the_very_end_only() {
    let text = "collected 3 items\n\ntests/test_a.py .F.   [100%]\n\n=== FAILURES ===\ntests/test_a.py:7: AssertionError\n=== short test summary info ===\nFAILED tests/test_a.py::test_b - assert 1 == 2\n=== 1 failed, 2 passed, 1 warning in 0.02s ===\n";
    let report = read(text, Format::PytestText);
    assert_eq!((counts(&report), report.names_all), ([2, 1, 0, 0], false));
    assert_eq!(place(&report.cases[0]), "tests/test_a.py:7");
    assert_eq!(detect("=== 99 passed in 0.01s ===\nTraceback\n"), None);
    assert_eq!(counts(&read("no tests ran in 0.01s\n", Format::PytestText)), [0, 0, 0, 0]);

    let text = "F.s\n======================================================================\nFAIL: test_x (tests.test_a.A.test_x)\n----------------------------------------------------------------------\nTraceback (most recent call last):\n  File \"/app/tests/test_a.py\", line 8, in test_x\n    self.assertEqual(1, 2)\nAssertionError: 1 != 2\n\n----------------------------------------------------------------------\nRan 3 tests in 0.001s\n\nFAILED (failures=1, skipped=1)\n";
    let report = read(text, Format::UnittestText);
    assert_eq!(counts(&report), [1, 1, 0, 1]);
    assert_eq!(report.cases[0].message.as_deref(), Some("AssertionError: 1 != 2"));
    assert_eq!(place(&report.cases[0]), "/app/tests/test_a.py:8");
}

#[test]
fn unknown_texts_have_no_format() {
    for text in ["", "all good", "<TestRun/>", "{\"a\":1}", "ok then\n", "running late"] {
        assert_eq!(detect(text), None, "{text}");
    }
    let huge = "x".repeat(17 * 1024 * 1024);
    assert!(matches!(parse(&huge, Format::Tap), Err(ReportError::TooLarge { .. })));
}

#[test]
fn a_case_that_failed_and_broke_has_failed_once() {
    let text = "<testsuite tests=\"1\" failures=\"1\" errors=\"1\"><testcase name=\"a\"><failure message=\"x\"/><error message=\"y\"/><skipped/></testcase></testsuite>";
    let report = read(text, Format::JunitXml);
    assert_eq!(counts(&report), [0, 1, 0, 0]);
    assert_eq!(report.cases[0].status, CaseStatus::Failed);
    assert_eq!(report.contradictions, [""; 0]);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(256) })]

    #[test]
    fn no_bytes_make_a_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..500)) {
        let text = String::from_utf8_lossy(&bytes);
        detect(&text);
        for format in Format::ALL {
            let _ = parse(&text, format);
        }
    }

    #[test]
    fn no_likely_lines_make_a_reader_panic(
        lines in proptest::collection::vec(
            prop::sample::select(vec![
                "running 2 tests", "test a ... ok", "test b ... FAILED", "failures:", "---- b stdout ----",
                "test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out", "..F", "1..2", "ok 1",
                "not ok 2 # TODO x", "    ok 1", "  ---", "  ...", "Bail out!", "TAP version 14", "é # skip",
                "{\"Action\":\"pass\",\"Package\":\"p\",\"Test\":\"t\",\"Elapsed\":-1e400}", "{", "== 1 failed in 1s ==",
                "{\"type\":\"test\",\"event\":\"ok\",\"exec_time\":-5}",
                "<testsuite tests=\"18446744073709551615\">", "</testsuite>", "<testcase time=\"1e999\">", "</testcase>",
                "<failure>", "</failure>", "&#0;", "Ran 1 test in 1s", "FAILED (failures=99999999999999999999)",
                "OK (errors=18446744073709551615)", "12345 passed in 1s", "FAIL: x",
            ]),
            0..40,
        )
    ) {
        let text = lines.join("\n");
        detect(&text);
        for format in Format::ALL {
            if let Ok(report) = parse(&text, format) {
                for case in report.failing() {
                    case.full_name();
                }
                report.totals.tests();
            }
        }
    }
}
