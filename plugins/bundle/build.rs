//! Builds every first-party plugin into a component and writes the table that `lib.rs` includes.
//!
//! First-party plugins are the packages beside this one whose manifest says `bundled = true` in
//! `package.metadata.caelum`. With `CAELUM_BUNDLE_PREBUILT` naming a directory, the `.wasm` files in it are taken
//! instead and nothing is built.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use caelum_plugin_build::{BuildRequest, Identity, Package, build, inputs, read_identity};

/// Names a directory of components to embed instead of building them.
const PREBUILT: &str = "CAELUM_BUNDLE_PREBUILT";

/// A plugin to embed.
struct Plugin {
    identity: Identity,
    path: PathBuf,
}

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed={PREBUILT}");
    if let Err(error) = bundle() {
        let mut text = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            text = format!("{text}: {cause}");
            source = cause.source();
        }
        for line in text.lines() {
            println!("cargo::error={line}");
        }
    }
}

fn bundle() -> Result<(), Box<dyn Error>> {
    let plugins = match std::env::var_os(PREBUILT) {
        Some(directory) => prebuilt(Path::new(&directory))?,
        None => built()?,
    };
    let mut by_id = BTreeMap::new();
    for plugin in plugins {
        let path = plugin.path.clone();
        if let Some(other) = by_id.insert(plugin.identity.id.clone(), plugin) {
            return Err(format!(
                "`{}` and `{}` are the same plugin",
                other.path.display(),
                path.display()
            )
            .into());
        }
    }
    embed(&by_id)
}

/// Builds the packages beside this one that are to be bundled.
fn built() -> Result<Vec<Plugin>, Box<dyn Error>> {
    let here = PathBuf::from(
        std::env::var_os("CARGO_MANIFEST_DIR").ok_or("cargo names no CARGO_MANIFEST_DIR")?,
    );
    let plugins = here.parent().ok_or("this package lies in no directory")?;
    let mut bundled = Vec::new();
    for entry in fs::read_dir(plugins)? {
        let directory = entry?.path();
        let manifest = directory.join("Cargo.toml");
        if directory == here || !manifest.is_file() {
            continue;
        }
        // Also those that are not bundled: they may become so. A new directory shows in `Cargo.lock`.
        println!("cargo::rerun-if-changed={}", manifest.display());
        if Package::read(&directory)?.bundled {
            for input in inputs(&directory)? {
                println!("cargo::rerun-if-changed={}", input.display());
            }
            bundled.push(directory);
        }
    }
    let lock = plugins.join("../Cargo.lock");
    if lock.is_file() {
        println!("cargo::rerun-if-changed={}", lock.display());
    }
    if bundled.is_empty() {
        return Ok(Vec::new());
    }
    bundled.sort();
    let built = build(&BuildRequest::new(bundled))?;
    Ok(built
        .into_iter()
        .map(|built| Plugin { identity: built.identity, path: built.path })
        .collect())
}

/// Takes the components of a directory as they are.
fn prebuilt(directory: &Path) -> Result<Vec<Plugin>, Box<dyn Error>> {
    println!("cargo::rerun-if-changed={}", directory.display());
    let entries = fs::read_dir(directory)
        .map_err(|error| format!("{PREBUILT}: `{}`: {error}", directory.display()))?;
    let mut plugins = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "wasm") {
            let identity = read_identity(&fs::read(&path)?)
                .map_err(|why| format!("`{}`: {why}", path.display()))?;
            plugins.push(Plugin { identity, path });
        }
    }
    Ok(plugins)
}

/// Copies the components into cargo's directory, because those of the cache do not last, and writes the table.
fn embed(plugins: &BTreeMap<String, Plugin>) -> Result<(), Box<dyn Error>> {
    let out = PathBuf::from(std::env::var_os("OUT_DIR").ok_or("cargo names no OUT_DIR")?);
    let mut table = String::from("&[\n");
    for (id, plugin) in plugins {
        let file_name = format!("{id}.wasm");
        let copy = out.join(&file_name);
        fs::copy(&plugin.path, &copy)?;
        writeln!(
            table,
            "    BundledPlugin {{ id: {id:?}, version: {:?}, world: {:?}, file_name: {file_name:?}, bytes: include_bytes!({copy:?}) }},",
            plugin.identity.version, plugin.identity.world,
        )?;
    }
    table.push_str("]\n");
    fs::write(out.join("bundled.rs"), table)?;
    Ok(())
}
