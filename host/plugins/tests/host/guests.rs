//! Small guests written by hand, one for each way in which a plugin can behave. They are core modules with the
//! contract's component type, made into components here, so that the tests need no toolchain for guests.

use std::path::Path;

use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

/// What a guest is made of. Every field has a harmless default.
#[derive(Debug, Clone)]
pub(crate) struct Guest {
    /// Its id.
    pub(crate) id: String,
    /// Its version.
    pub(crate) version: String,
    /// The schema of its parameters.
    pub(crate) schema: String,
    /// Imports and further fields of the module, in the text format.
    pub(crate) fields: String,
    /// Fields that come after its first memory.
    pub(crate) further: String,
    /// Instructions at the beginning of `describe`.
    pub(crate) describe: String,
    /// Instructions at the beginning of `judge` (or `validate` and `plan`). Parameter 0 points to the arguments.
    pub(crate) judge: String,
    /// Instructions at the beginning of `cabi_realloc`.
    pub(crate) realloc: String,
    /// Pages of its first memory.
    pub(crate) pages: u32,
    /// The content of its section `caelum:plugin`.
    pub(crate) manifest: Option<String>,
    /// WIT of its world beyond the contract's, for example `import wasi:cli/exit@0.2.6;`.
    pub(crate) world: String,
    /// The judgement: 0 pass, 1 fail, 2 inconclusive, 3 needs-review.
    pub(crate) verdict: u8,
}

impl Default for Guest {
    fn default() -> Self {
        Guest {
            id: "guest".to_owned(),
            version: "1.0.0".to_owned(),
            schema: r#"{"type":"object"}"#.to_owned(),
            fields: String::new(),
            further: String::new(),
            describe: String::new(),
            judge: String::new(),
            realloc: String::new(),
            pages: 2,
            manifest: None,
            world: String::new(),
            verdict: 0,
        }
    }
}

/// Where things lie in the memory of a guest.
const DESCRIPTION: u32 = 1_024;
/// Where the answer of `judge` lies: `result<verdict, plugin-error>`.
pub(crate) const ANSWER: u32 = 2_048;
/// Room that the guests of tests may use.
pub(crate) const SCRATCH: u32 = 4_096;
const TEXTS: u32 = 8_192;
const HEAP: u32 = 65_536;

/// Packages that guests of tests may import besides the contract.
const OTHERS: &str = r#"
package test:others;
package wasi:io@0.2.6 {
    interface error { resource error; }
    interface poll { resource pollable { block: func(); } }
    interface streams {
        use error.{error};
        variant stream-error { last-operation-failed(error), closed }
        resource input-stream { blocking-read: func(len: u64) -> result<list<u8>, stream-error>; }
        resource output-stream { blocking-write-and-flush: func(contents: list<u8>) -> result<_, stream-error>; }
    }
}
package wasi:cli@0.2.6 {
    interface exit { exit: func(status: result); }
    interface stdin { use wasi:io/streams@0.2.6.{input-stream}; get-stdin: func() -> input-stream; }
    interface stdout { use wasi:io/streams@0.2.6.{output-stream}; get-stdout: func() -> output-stream; }
    interface stderr { use wasi:io/streams@0.2.6.{output-stream}; get-stderr: func() -> output-stream; }
}
package wasi:random@0.2.6 {
    interface random { get-random-u64: func() -> u64; get-random-bytes: func(len: u64) -> list<u8>; }
}
package wasi:clocks@0.2.6 {
    interface monotonic-clock {
        use wasi:io/poll@0.2.6.{pollable};
        now: func() -> u64;
        subscribe-duration: func(when: u64) -> pollable;
    }
}
package wasi:http@0.2.6 { interface types { x: func(); } }
package caelum:plugin@0.2.0 { interface validator { judge: func(); } interface log { log: func(); } }
package caelum:plugin@0.1.9 { interface log { log: func(); flush: func(); } }
"#;

/// Texts and records in the memory of a guest.
#[derive(Default)]
struct Data {
    segments: String,
    next: u32,
}

impl Data {
    fn text(&mut self, text: &str) -> [u32; 2] {
        if self.next == 0 {
            self.next = TEXTS;
        }
        let place = [self.next, text.len() as u32];
        self.bytes(place[0], text.as_bytes());
        self.next += text.len() as u32;
        place
    }

    fn words(&mut self, at: u32, words: &[u32]) {
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        self.bytes(at, &bytes);
    }

    fn bytes(&mut self, at: u32, bytes: &[u8]) {
        let escaped: String = bytes.iter().map(|byte| format!("\\{byte:02x}")).collect();
        self.segments.push_str(&format!("(data (i32.const {at}) \"{escaped}\")\n"));
    }
}

impl Guest {
    /// A validator that passes everything.
    pub(crate) fn named(id: &str) -> Self {
        Guest { id: id.to_owned(), ..Guest::default() }
    }

    /// A validator whose `judge` begins with these instructions.
    pub(crate) fn judging(judge: &str) -> Self {
        Guest { judge: judge.to_owned(), ..Guest::default() }
    }

    fn description(&self, data: &mut Data) {
        let texts = [
            data.text(&self.id),
            data.text(&self.version),
            data.text("A guest"),
            data.text("Made for a test."),
            data.text(&self.schema),
        ];
        let mut words: Vec<u32> = texts.into_iter().flatten().collect();
        words.extend([0, 0]); // extensions
        data.words(DESCRIPTION, &words);
    }

    fn module(&self, data: &Data, exports: &str) -> String {
        let manifest = self.manifest.as_ref().map_or_else(String::new, |manifest| {
            format!("(@custom \"caelum:plugin\" \"{}\")", manifest.replace('"', "\\22"))
        });
        format!(
            r#"(module
                {fields}
                (memory (export "memory") {pages})
                {further}
                (global $next (mut i32) (i32.const {HEAP}))
                {segments}
                (func (export "cabi_realloc") (param $old i32) (param $had i32) (param $align i32) (param $size i32) (result i32)
                    (local $at i32)
                    {realloc}
                    (local.set $at (i32.and
                        (i32.add (global.get $next) (i32.sub (local.get $align) (i32.const 1)))
                        (i32.sub (i32.const 0) (local.get $align))))
                    (global.set $next (i32.add (local.get $at) (local.get $size)))
                    (block $enough (loop $grow
                        (br_if $enough (i32.le_u (global.get $next) (i32.mul (memory.size) (i32.const 65536))))
                        (if (i32.eq (memory.grow (i32.const 16)) (i32.const -1)) (then unreachable))
                        (br $grow)))
                    (local.get $at))
                {exports}
                {manifest}
            )"#,
            fields = self.fields,
            further = self.further,
            pages = self.pages,
            segments = data.segments,
            realloc = self.realloc,
        )
    }

    /// The validator as a core module that carries its component type.
    pub(crate) fn core_module(&self) -> Vec<u8> {
        let mut data = Data::default();
        self.description(&mut data);
        data.words(DESCRIPTION + 48, &[SCRATCH - 16, 2, 0, 0]); // phases, formats
        data.bytes(SCRATCH - 16, &[0, 1]);
        let summary = data.text("looked at");
        let metrics = data.text("{}");
        let reasons = if self.verdict == 0 { [0, 0] } else { [SCRATCH - 64, 1] };
        let (code, message) = (data.text("because"), data.text("said so"));
        data.words(SCRATCH - 64, &[code[0], code[1], message[0], message[1], 0, 0, 0, 0, 0]);
        data.words(ANSWER, &[0, u32::from(self.verdict)]);
        data.words(
            ANSWER + 8,
            &[summary[0], summary[1], reasons[0], reasons[1], metrics[0], metrics[1], 0, 0, 0, 0],
        );
        let exports = format!(
            r#"
            (func (export "caelum:plugin/validator@0.1.0#describe") (result i32)
                {describe}
                (i32.const {DESCRIPTION}))
            (func $judge (export "caelum:plugin/validator@0.1.0#judge") (param i32) (result i32)
                {judge}
                (i32.const {ANSWER}))"#,
            describe = self.describe,
            judge = self.judge,
        );
        self.typed(&self.module(&data, &exports), "step-validator")
    }

    /// The validator as a component.
    pub(crate) fn validator(&self) -> Vec<u8> {
        component(&self.core_module())
    }

    /// A pattern as a component: nothing to find, nothing to change.
    pub(crate) fn pattern(&self) -> Vec<u8> {
        let mut data = Data::default();
        self.description(&mut data);
        data.words(DESCRIPTION + 48, &[0, 0, 0, 0]); // rules, applies-to
        data.words(ANSWER, &[0, 1, 0, 0, 0, 0, 0, 0, 0, 0]); // ok(already-applied, nothing)
        let summary = data.text("nothing to do");
        data.words(ANSWER + 256, &[0, summary[0], summary[1], 0, 0, 0, 0, 0, 0, 0, 0]);
        let exports = format!(
            r#"
            (func (export "caelum:plugin/pattern@0.1.0#describe") (result i32)
                {describe}
                (i32.const {DESCRIPTION}))
            (func (export "caelum:plugin/pattern@0.1.0#validate") (param i32 i32 i32 i32) (result i32)
                {judge}
                (i32.const {ANSWER}))
            (func (export "caelum:plugin/pattern@0.1.0#plan") (param i32 i32 i32 i32) (result i32)
                {judge}
                (i32.const {plan}))"#,
            describe = self.describe,
            judge = self.judge,
            plan = ANSWER + 256,
        );
        component(&self.typed(&self.module(&data, &exports), "improvement-pattern"))
    }

    fn typed(&self, module: &str, world: &str) -> Vec<u8> {
        let world = format!("include caelum:plugin/{world}@0.1.0; {}", self.world);
        typed_module(module, &world)
    }
}

/// A core module from the text format that carries the component type of a world made of these items.
pub(crate) fn typed_module(module: &str, world: &str) -> Vec<u8> {
    let mut module = wat::parse_str(module).unwrap_or_else(|error| panic!("{error}\n{module}"));
    let mut resolve = Resolve::default();
    let wit = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../wit");
    resolve.push_dir(wit).expect("the contract parses");
    resolve.push_str("others.wit", OTHERS).expect("the others parse");
    let package = resolve
        .push_str("guest.wit", &format!("package test:guest; world guest {{ {world} }}"))
        .expect("the world parses");
    let world = resolve.select_world(&[package], Some("guest")).expect("the world is there");
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8)
        .expect("the type fits into a section");
    module
}

/// A component from a core module that carries its type.
pub(crate) fn component(module: &[u8]) -> Vec<u8> {
    ComponentEncoder::default()
        .validate(true)
        .module(module)
        .expect("a module with a type")
        .encode()
        .unwrap_or_else(|error| panic!("{error:#}"))
}

/// Instructions that never end.
pub(crate) const FOR_EVER: &str = "(loop $for_ever (br $for_ever))";

/// Makes `judge` answer with the text at `SCRATCH`, of the length in the local variable or number `length`.
pub(crate) fn say(length: &str) -> String {
    format!(
        "(i32.store (i32.const {}) (i32.const {SCRATCH})) (i32.store (i32.const {}) {length})",
        ANSWER + 8,
        ANSWER + 12
    )
}
