//! Dockerfiles as people write them, and as nobody should.

use caelum_plugin_syntax::dockerfile::{Base, Dockerfile};
use proptest::prelude::*;

#[test]
fn stages_arguments_and_continuations_are_read() {
    let text = "# syntax=docker/dockerfile:1\n\
        ARG VERSION=3.12\n\
        ARG BASE=python:${VERSION}-slim\n\
        from --platform=$BUILDPLATFORM ${BASE} as Builder\r\n\
        RUN apt-get update && \\\n\
        # a comment in between\n\
        \n\
           apt-get install -y curl\n\
        EXPOSE 8000 9000/udp 8001/tcp\n\
        FROM builder\n\
        COPY --from=builder --chown=1:1 /a /b\n\
        HEALTHCHECK CMD curl -f http://localhost:8000/health\n\
        CMD [\"python\", \"-m\", \"app\\\"x\"]\n\
        FROM scratch AS empty\n";

    let file = Dockerfile::parse(text);

    assert_eq!(file.problems, []);
    assert_eq!(file.stages.len(), 3);
    assert_eq!(file.stages[0].base, Base::Image("python:3.12-slim".to_owned()));
    assert_eq!(file.stages[0].name.as_deref(), Some("Builder"));
    assert_eq!(file.stages[1].base, Base::Stage(0));
    assert_eq!(file.stages[2].base, Base::Scratch);
    let second = &file.stages[1];
    assert_eq!(file.base_image(second), Some("python:3.12-slim"));
    let run = file.inherited(second, "RUN");
    assert_eq!(run[0].arguments, "apt-get update && apt-get install -y curl");
    assert_eq!(run[0].position.line, 5);
    let ports: Vec<u16> = file.exposed_ports(second).into_iter().map(|(port, _)| port).collect();
    assert_eq!(ports, [8000, 8001]);
    let copy = file.inherited(second, "COPY")[0];
    assert_eq!((copy.flag("from"), copy.flag("chown")), (Some("builder"), Some("1:1")));
    let command = file.inherited(second, "CMD")[0].exec_form();
    assert_eq!(command, Some(vec!["python".to_owned(), "-m".to_owned(), "app\"x".to_owned()]));
    assert_eq!(file.final_stage(Some("BUILDER")).map(|stage| stage.index), Some(0));
    assert_eq!(file.final_stage(Some("2")).map(|stage| stage.index), Some(2));
    assert_eq!(file.final_stage(None).map(|stage| stage.index), Some(2));
}

#[test]
fn heredocs_hide_their_lines() {
    let text = "FROM debian\n\
        RUN <<-EOF cat > /x && python3 <<'PY'\n\
        \tFROM nowhere\n\
        \tEOF\n\
        print(1 << 2)\n\
        PY\n\
        COPY <<\"robots.txt\" /web/\n\
        EXPOSE 1\n\
        robots.txt\n\
        RUN echo $((1 << 3)) <<< word\n\
        EXPOSE 80\n";

    let file = Dockerfile::parse(text);

    assert_eq!(file.problems, []);
    let keywords: Vec<&str> = file.instructions.iter().map(|one| one.keyword.as_str()).collect();
    assert_eq!(keywords, ["FROM", "RUN", "COPY", "RUN", "EXPOSE"]);
    assert_eq!(file.instructions[1].heredocs[0].text, "FROM nowhere\n");
    assert_eq!(file.instructions[1].heredocs[1].text, "print(1 << 2)\n");
    assert!(!file.instructions[1].heredocs[1].expands);
    assert_eq!(file.instructions[2].heredocs[0].delimiter, "robots.txt");
    assert_eq!(
        &text[file.instructions[2].span.clone()],
        "COPY <<\"robots.txt\" /web/\nEXPOSE 1\nrobots.txt"
    );
}

#[test]
fn the_escape_directive_counts_at_the_top_only() {
    let file = Dockerfile::parse("# escape=`\nFROM windows\nCOPY a C:\\\nRUN dir `\n  x\n");
    let keywords: Vec<&str> = file.instructions.iter().map(|one| one.keyword.as_str()).collect();
    assert_eq!((file.escape, keywords), ('`', vec!["FROM", "COPY", "RUN"]));

    let file = Dockerfile::parse("FROM x\n# escape=`\nRUN a \\\n b\n");
    assert_eq!((file.escape, file.instructions.len()), ('\\', 2));
}

#[test]
fn faults_are_named_with_their_place() {
    let file = Dockerfile::parse("RUN x\nFROM a b\nAPT-GET install\nRUN <<EOF\nx\n");
    let problems: Vec<String> =
        file.problems.iter().map(|one| format!("{}: {}", one.position.line, one.message)).collect();
    assert_eq!(
        problems,
        [
            "1: `RUN` stands before the first FROM",
            "2: expected `AS name` behind the image, found `b`",
            "3: `APT-GET` is no instruction",
            "4: the heredoc `EOF` is never closed",
        ]
    );
    assert_eq!(Dockerfile::parse("").problems[0].message, "there is no FROM");
}

#[test]
fn arguments_that_double_each_other_end_in_an_unknown_base() {
    let mut text = String::from("ARG A0=xxxxxxxx\n");
    for index in 1..60 {
        text.push_str(&format!("ARG A{index}=$A{}$A{}\n", index - 1, index - 1));
    }
    text.push_str("FROM $A59\n");
    assert_eq!(Dockerfile::parse(&text).stages[0].base, Base::Unknown);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(256) })]

    #[test]
    fn no_text_makes_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        let text = String::from_utf8_lossy(&bytes);
        let file = Dockerfile::parse(&text);
        for instruction in &file.instructions {
            prop_assert!(text.get(instruction.span.clone()).is_some());
        }
    }

    #[test]
    fn no_likely_text_makes_the_reader_panic(
        words in proptest::collection::vec(
            prop::sample::select(vec![
                "FROM", "a", "AS", "RUN", "<<EOF", "<<-\"X\"", "EOF", "X", "\\\n", "\n", "\r\n", " ", "#", "`",
                "--from=", "[\"", "\"]", "ARG ", "V=${V:-", "}", "$V", "ONBUILD ", "\t", "é", "EXPOSE 80",
            ]),
            0..60,
        )
    ) {
        let text = words.concat();
        let file = Dockerfile::parse(&text);
        for stage in &file.stages {
            file.exposed_ports(stage);
            file.base_image(stage);
        }
    }
}
