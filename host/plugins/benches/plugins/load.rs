//! Loading the same validator in every language: for the first time, when it has to be compiled; from then on, when its
//! code lies in the cache; and a call once it is in memory. Beside it the bare engine with its own compiled file. Then
//! the kit's pattern, with some work.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use caelum_core::plugin::PluginKind;
use caelum_core::tree::MapTree;
use caelum_plugin_host::{Allocator, CallControl, Options, Plugins};
use caelum_polyglot::{Language, PATTERN, VALIDATOR};
use serde_json::json;
use tokio::runtime::Runtime;
use wasmtime::component::Component;

use crate::bare::{self, Bare, load_compiled};
use crate::hosted::{Hosted, evidence, options};
use crate::{Figures, Row, ms, percentile, us};

/// How often a start with a filled cache is measured; the middle one counts.
const STARTS: usize = 15;

/// How many calls are measured once the plugin is in memory.
const CALLS: usize = 200;

/// How many files the pattern has to tidy.
const FILES: usize = 200;

pub(crate) fn measure(figures: &mut Figures) {
    if !figures.wanted("load") {
        return;
    }
    let here = Language::here();
    let runtime = Arc::new(Runtime::new().expect("threads"));
    for language in &here {
        one(figures, &runtime, *language);
    }
    for language in &here {
        tidy(figures, &runtime, *language);
    }
}

/// A language as a reader knows it.
fn title(language: Language) -> &'static str {
    match language {
        Language::Rust => "Rust",
        Language::Python => "Python",
        Language::QuickJs => "JavaScript (QuickJS)",
        Language::StarlingMonkey => "JavaScript (StarlingMonkey)",
    }
}

/// Copies a component to where a host finds it.
fn installed(component: &Path, home: &Path) -> PathBuf {
    let folder = home.join("plugins");
    fs::create_dir_all(&folder).expect("a folder");
    let file = folder.join("plugin.wasm");
    fs::copy(component, &file).expect("copies");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).expect("sets its mode");
    folder
}

fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let began = Instant::now();
    let done = work();
    (done, began.elapsed())
}

fn one(figures: &mut Figures, runtime: &Arc<Runtime>, language: Language) {
    let (word, title) = (language.word(), title(language));
    let home = tempfile::tempdir().expect("a folder");
    let component = language.component(VALIDATOR);
    let folder = installed(&component, home.path());
    let (cache, artifact) = (home.path().join("cache"), home.path().join("bare.cwasm"));
    let bytes = fs::read(&component).expect("it is there");
    let evidence = evidence();
    let open = || {
        let hosted = Hosted::found(Arc::clone(runtime), &folder, &cache, VALIDATOR);
        hosted.check();
        hosted
    };

    let (hosted, cold) = timed(open);
    drop(hosted);
    let (code, bare_cold) = timed(|| {
        let code =
            Component::from_binary(&bare::engine(Allocator::default()), &bytes).expect("compiles");
        Bare::new(&code, &evidence).check();
        code
    });
    fs::write(&artifact, code.serialize().expect("serializes")).expect("writes");
    drop(code);
    figures.add(
        Row::time(
            &format!("load_cold_{word}_ms"),
            &format!("{title}: from a new file to the first answer, compiled"),
            "ms",
            ms(cold),
        )
        .beside(ms(bare_cold))
        .noted(format!("{:.2} MB", bytes.len() as f64 / 1e6)),
    );

    let (mut warm, mut bare_warm) = (Vec::new(), Vec::new());
    for _ in 0..STARTS {
        warm.push(timed(open).1);
        let start = || {
            Bare::new(&load_compiled(&bare::engine(Allocator::default()), &artifact), &evidence)
                .check()
        };
        bare_warm.push(timed(start).1);
    }
    figures.add(
        Row::time(
            &format!("load_warm_{word}_ms"),
            &format!("{title}: from the start of a host to the first answer, code in the cache"),
            "ms",
            ms(percentile(&mut warm, 0.5)),
        )
        .beside(ms(percentile(&mut bare_warm, 0.5))),
    );

    let hosted = open();
    let bare = Bare::new(&load_compiled(&bare::engine(Allocator::default()), &artifact), &evidence);
    let (mut calls, mut instances, mut bare_calls) = (Vec::new(), Vec::new(), Vec::new());
    let mut memory = 0;
    for _ in 0..CALLS {
        let (called, took) = timed(|| hosted.check());
        calls.push(took);
        instances.push(called.report.instantiated);
        memory = called.report.peak_memory_bytes;
        bare_calls.push(timed(|| bare.check()).1);
    }
    figures.add(
        Row::time(
            &format!("load_call_{word}_us"),
            &format!("{title}: a call once it is in memory, p50"),
            "µs",
            us(percentile(&mut calls, 0.5)),
        )
        .beside(us(percentile(&mut bare_calls, 0.5)))
        .noted(format!("{:.1} MiB of memory", memory as f64 / (1024.0 * 1024.0))),
    );
    figures.add(Row::time(
        &format!("load_instance_{word}_us"),
        &format!("{title}: of this the fresh instance, p50"),
        "µs",
        us(percentile(&mut instances, 0.5)),
    ));
}

/// Has the pattern look at many files that need tidying, and plan it.
fn tidy(figures: &mut Figures, runtime: &Runtime, language: Language) {
    let home = tempfile::tempdir().expect("a folder");
    let folder = installed(&language.component(PATTERN), home.path());
    let options = Options { directory: Some(folder), ..options() };
    let text = "a line that ends in spaces   \n".repeat(20);
    let files: Vec<String> = (0..FILES).map(|number| format!("src/file-{number:03}.txt")).collect();
    let tree: MapTree = files.iter().map(|path| (path.as_str(), text.as_bytes())).collect();
    let called = runtime.block_on(async {
        let plugins = Plugins::open(options, vec![]).await.expect("the options are legal");
        let pattern = plugins.find(PluginKind::Pattern, PATTERN).expect("it serves");
        let (parameters, context) = (json!({}), json!({}));
        let control = CallControl::default();
        plugins.plan(&pattern, Arc::new(tree), &parameters, &context, control).await
    });
    let (took, memory) = (called.report.duration, called.report.peak_memory_bytes);
    let note = match called.outcome {
        Ok(plan) => format!(
            "{} edits, {:.1} MiB of memory",
            plan.edits.len(),
            memory as f64 / (1024.0 * 1024.0)
        ),
        Err(error) => format!("failed: {error}"),
    };
    let title = format!("{}: a plan for {FILES} files to tidy", title(language));
    let name = format!("load_plan_{}_ms", language.word());
    figures.add(Row::time(&name, &title, "ms", ms(took)).noted(note));
}
