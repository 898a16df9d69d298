//! Runs cargo: the arguments, and an environment that holds nothing of the cargo that may be running us.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::error::BuildError;
use crate::manifest::Package;
use crate::toolchain::{Method, Toolchain};
use crate::{Messages, PROFILE};

/// How much of cargo's messages an error carries, in bytes: the end, where the errors are.
const OUTPUT_BYTES_MAX: usize = 16 * 1024;

/// Small and without unwinding: what [`PROFILE`] means where the workspace does not say it.
const PROFILE_SETTINGS: [&str; 6] = [
    "inherits=\"release\"",
    "opt-level=\"s\"",
    "lto=\"fat\"",
    "codegen-units=1",
    "panic=\"abort\"",
    "strip=\"debuginfo\"",
];

/// Variables that cargo and rustup set for what they run, and that build scripts see: none of the child's business.
const REMOVED: [&str; 20] = [
    "DEBUG",
    "DYLD_FALLBACK_LIBRARY_PATH",
    "HOST",
    "MAKEFLAGS",
    "MFLAGS",
    "NUM_JOBS",
    "OPT_LEVEL",
    "OUT_DIR",
    "PROFILE",
    "RUSTC",
    "RUSTC_BOOTSTRAP",
    "RUSTC_LINKER",
    "RUSTC_WORKSPACE_WRAPPER",
    "RUSTC_WRAPPER",
    "RUSTDOC",
    "RUSTDOCFLAGS",
    "RUSTFLAGS",
    "RUSTUP_TOOLCHAIN",
    "RUST_RECURSION_COUNT",
    "TARGET",
];

/// Beginnings of `CARGO` variables with which people configure where packages come from. These stay.
const KEPT_CARGO: [&str; 6] = [
    "CARGO_HOME",
    "CARGO_HTTP_",
    "CARGO_NET_",
    "CARGO_REGISTRY_",
    "CARGO_REGISTRIES_",
    "CARGO_SOURCE_",
];

/// Where the dynamic linker looks first.
const LIBRARY_PATH: &str = "LD_LIBRARY_PATH";

/// One run of cargo.
pub(crate) struct Run<'a> {
    pub(crate) packages: &'a [&'a Package],
    pub(crate) toolchain: &'a Toolchain,
    pub(crate) workspace_root: &'a Path,
    pub(crate) target_dir: &'a Path,
    pub(crate) profile: &'a str,
    pub(crate) offline: bool,
    pub(crate) messages: Messages,
}

/// Builds the packages' libraries. Returns when cargo has ended well.
pub(crate) fn run(run: &Run<'_>) -> Result<(), BuildError> {
    let mut command = command(run);
    let start = |source| BuildError::Start { program: run.toolchain.cargo.clone(), source };
    let output = command.output().map_err(start)?;
    if output.status.success() {
        return Ok(());
    }
    let names: Vec<_> = run.packages.iter().map(|package| format!("`{}`", package.name)).collect();
    Err(BuildError::Cargo {
        packages: names.join(", "),
        status: output.status.to_string(),
        output: tail(&output.stderr),
    })
}

fn command(run: &Run<'_>) -> Command {
    let toolchain = run.toolchain;
    let mut command = Command::new(&toolchain.cargo);
    command.current_dir(run.workspace_root).stdin(Stdio::null()).stdout(Stdio::null());
    if run.messages == Messages::Shown {
        command.stderr(Stdio::inherit());
    }
    for (name, _) in std::env::vars_os() {
        if !stays(&name) {
            command.env_remove(name);
        }
    }
    if let Some(paths) = std::env::var_os(LIBRARY_PATH) {
        // Rustup points it at its toolchain's libraries, which another compiler must not load.
        let paths =
            std::env::split_paths(&paths).filter(|path| !path.join("../bin/rustc").exists());
        if let Ok(paths) = std::env::join_paths(paths) {
            command.env(LIBRARY_PATH, paths);
        }
    }
    command.env("RUSTC", &toolchain.rustc);
    if let Some(linker) = &toolchain.linker {
        command.env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", linker);
    }
    command.args([
        "build",
        "--lib",
        "--target",
        toolchain.method.target(),
        "--profile",
        run.profile,
    ]);
    command.arg("--target-dir").arg(run.target_dir);
    command.arg("--manifest-path").arg(run.workspace_root.join("Cargo.toml"));
    for package in run.packages {
        command.args(["--package", &package.name]);
    }
    if run.profile == PROFILE && !defines_profile(run.packages) {
        for setting in PROFILE_SETTINGS {
            command.arg("--config").arg(format!("profile.{PROFILE}.{setting}"));
        }
    }
    if toolchain.method == Method::BuildStd {
        // The flag is unstable; this variable is how Rust's own packagers allow one on a stable compiler.
        command.env("RUSTC_BOOTSTRAP", "1").args(["-Z", "build-std=std,panic_abort"]);
    }
    if run.offline {
        command.arg("--offline");
    }
    command
}

fn defines_profile(packages: &[&Package]) -> bool {
    packages.iter().any(|package| {
        package.inherited.get("profile").is_some_and(|profiles| profiles.get(PROFILE).is_some())
    })
}

fn stays(name: &OsStr) -> bool {
    let Some(name) = name.to_str() else { return true };
    let is_cargo =
        name.starts_with("CARGO") && !KEPT_CARGO.iter().any(|kept| name.starts_with(kept));
    // `DEP_*` are what linked libraries tell build scripts.
    !(is_cargo || name.starts_with("DEP_") || REMOVED.contains(&name))
}

/// Returns where cargo leaves the library of a package.
pub(crate) fn artifact(
    package: &Package,
    toolchain: &Toolchain,
    target_dir: &Path,
    profile: &str,
) -> PathBuf {
    let profile = if profile == "dev" { "debug" } else { profile };
    target_dir
        .join(toolchain.method.target())
        .join(profile)
        .join(format!("{}.wasm", package.library))
}

fn tail(output: &[u8]) -> String {
    let start = output.len().saturating_sub(OUTPUT_BYTES_MAX);
    let text = String::from_utf8_lossy(&output[start..]);
    if text.trim().is_empty() { String::new() } else { format!("\n{}", text.trim_end()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_child_sees_nothing_of_the_outer_cargo() {
        let table = [
            ("PATH", true),
            ("HOME", true),
            ("CARGO_HOME", true),
            ("CARGO_HTTP_PROXY", true),
            ("CARGO_REGISTRIES_MINE_INDEX", true),
            ("RUSTUP_HOME", true),
            ("RUST_BACKTRACE", true),
            ("CARGO", false),
            ("CARGO_MANIFEST_DIR", false),
            ("CARGO_PKG_NAME", false),
            ("CARGO_ENCODED_RUSTFLAGS", false),
            ("CARGO_MAKEFLAGS", false),
            ("CARGO_TARGET_DIR", false),
            ("CARGO_BUILD_TARGET", false),
            ("CARGO_PROFILE_RELEASE_LTO", false),
            ("CARGO_CFG_TARGET_OS", false),
            ("RUSTC", false),
            ("RUSTC_WRAPPER", false),
            ("RUSTFLAGS", false),
            ("RUSTUP_TOOLCHAIN", false),
            ("OUT_DIR", false),
            ("TARGET", false),
            ("DEP_Z_INCLUDE", false),
        ];
        for (name, expected) in table {
            assert_eq!(stays(OsStr::new(name)), expected, "{name}");
        }
    }

    #[test]
    fn a_long_output_keeps_its_end() {
        let mut output = vec![b'x'; OUTPUT_BYTES_MAX];
        output.extend(b"error: last\n");

        let tail = tail(&output);

        assert!(tail.len() <= OUTPUT_BYTES_MAX + 1 && tail.ends_with("error: last"));
        assert_eq!(super::tail(b" \n"), "");
    }
}
