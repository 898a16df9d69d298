//! Looks for Rust compilers on this machine. It runs `rustc` to ask who it is and looks at files; it decides nothing.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::toolchain::Found;

/// Where distributions install theirs, even when another one comes first on PATH.
const SYSTEM_RUSTC: &str = "/usr/bin/rustc";

/// Names under which a WebAssembly linker may be on PATH, the best first.
const LINKERS: [&str; 2] = ["rust-lld", "wasm-ld"];

/// Returns the compilers of this machine: the one that runs this build first, then the one on PATH, then the system's.
pub(crate) fn found() -> Vec<Found> {
    let mut found: Vec<Found> = Vec::new();
    let outer = std::env::var_os("RUSTC").filter(|rustc| !rustc.is_empty());
    for rustc in [outer.as_deref(), Some(OsStr::new("rustc")), Some(OsStr::new(SYSTEM_RUSTC))]
        .into_iter()
        .flatten()
    {
        if let Some(compiler) =
            inspect(rustc).filter(|new| found.iter().all(|known| known.sysroot != new.sysroot))
        {
            found.push(compiler);
        }
    }
    // A compiler without a linker of its own may use another's: the object format is the same.
    let spare = found.iter().find_map(|compiler| compiler.linker.clone()).or_else(linker_on_path);
    for compiler in &mut found {
        compiler.linker = compiler.linker.take().or_else(|| spare.clone());
    }
    found
}

fn inspect(rustc: &OsStr) -> Option<Found> {
    let version_text = ask(rustc, &["-vV"])?;
    let sysroot = PathBuf::from(ask(rustc, &["--print", "sysroot"])?.trim());
    let line =
        |key: &str| version_text.lines().find_map(|line| line.strip_prefix(key)).map(str::trim);
    let mut numbers = line("release:")?.split('.').map_while(|number| number.parse().ok());
    let version = (numbers.next()?, numbers.next()?);
    let host = line("host:")?.to_owned();
    let library = sysroot.join("lib/rustlib");
    let linker = library.join(&host).join("bin").join(executable("rust-lld"));
    Some(Found {
        // Past rustup's proxies, which would choose again by variables and directory.
        rustc: or_given(sysroot.join("bin").join(executable("rustc")), rustc),
        cargo: or_given(sysroot.join("bin").join(executable("cargo")), OsStr::new("cargo")),
        has_wasip2: has_standard_library(&library.join("wasm32-wasip2/lib")),
        has_unknown: has_standard_library(&library.join("wasm32-unknown-unknown/lib")),
        has_source: library.join("src/rust/library/std/Cargo.toml").is_file(),
        linker: linker.is_file().then_some(linker),
        version,
        version_text,
        sysroot,
    })
}

fn ask(rustc: &OsStr, arguments: &[&str]) -> Option<String> {
    // `RUSTUP_TOOLCHAIN` stays here: it says which compiler runs the build that we are part of.
    let output = Command::new(rustc)
        .args(arguments)
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .ok()?;
    output.status.success().then(|| String::from_utf8(output.stdout).ok())?
}

fn has_standard_library(directory: &Path) -> bool {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name()).any(|name| {
        let name = name.to_string_lossy();
        name.starts_with("libstd-") && name.ends_with(".rlib")
    })
}

fn linker_on_path() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    LINKERS.iter().find_map(|name| {
        std::env::split_paths(&path)
            .map(|directory| directory.join(executable(name)))
            .find(|linker| linker.is_file())
    })
}

fn or_given(preferred: PathBuf, given: &OsStr) -> PathBuf {
    if preferred.is_file() { preferred } else { given.into() }
}

fn executable(name: &str) -> String {
    format!("{name}{}", std::env::consts::EXE_SUFFIX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_compiler_of_this_test_is_found_with_its_identity() {
        let found = found();

        let first = found.first().expect("tests are built by a compiler");
        assert!(
            first.version_text.contains("host:") && first.cargo.is_file() && first.rustc.is_file(),
            "{first:?}"
        );
    }

    #[test]
    fn a_program_that_is_no_compiler_is_not_found() {
        assert_eq!(inspect(OsStr::new("/nonexistent/rustc")), None);
        assert_eq!(inspect(OsStr::new("true")), None);
    }
}
