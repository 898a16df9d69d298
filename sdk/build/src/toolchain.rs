//! Which toolchain builds: a pure choice among what `search.rs` found.

use std::fmt;
use std::path::PathBuf;

/// How a plugin becomes WebAssembly. The order is the preference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Method {
    /// With the installed target `wasm32-wasip2`, which links components. First, because more crates build for it.
    Wasip2,
    /// With the installed target `wasm32-unknown-unknown`; the component is made here.
    Unknown,
    /// For `wasm32-unknown-unknown`, with the standard library built from its source: for toolchains whose targets
    /// cannot be installed.
    BuildStd,
}

impl Method {
    /// All methods, the best first.
    pub const ALL: [Self; 3] = [Self::Wasip2, Self::Unknown, Self::BuildStd];

    /// Returns the target's name.
    #[must_use]
    pub const fn target(self) -> &'static str {
        match self {
            Self::Wasip2 => "wasm32-wasip2",
            Self::Unknown | Self::BuildStd => "wasm32-unknown-unknown",
        }
    }
}

/// The oldest compiler that builds the sdk crate: major and minor.
const OLDEST: (u32, u32) = (1, 95);

/// A Rust compiler on this machine and what it can do for us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    /// The compiler.
    pub(crate) rustc: PathBuf,
    /// The cargo that belongs to it.
    pub(crate) cargo: PathBuf,
    /// Where its libraries are.
    pub(crate) sysroot: PathBuf,
    /// What `rustc -vV` prints: its identity.
    pub(crate) version_text: String,
    /// Major and minor version.
    pub(crate) version: (u32, u32),
    /// Whether the standard library for `wasm32-wasip2` is installed.
    pub(crate) has_wasip2: bool,
    /// Whether the standard library for `wasm32-unknown-unknown` is installed.
    pub(crate) has_unknown: bool,
    /// Whether the source of the standard library is installed.
    pub(crate) has_source: bool,
    /// A linker for WebAssembly, its own or another compiler's.
    pub(crate) linker: Option<PathBuf>,
}

impl Found {
    fn is_new_enough(&self) -> bool {
        self.version >= OLDEST
    }

    fn can(&self, method: Method) -> bool {
        let has = match method {
            Method::Wasip2 => self.has_wasip2,
            // The compiler finds its own linker in its sysroot where a target was installed with it; a packaged one
            // may bring the target and leave the linker to another package.
            Method::Unknown => self.has_unknown && self.linker.is_some(),
            Method::BuildStd => self.has_source && self.linker.is_some(),
        };
        has && self.is_new_enough()
    }
}

/// The compiler that builds, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Toolchain {
    /// How.
    pub method: Method,
    /// The compiler.
    pub rustc: PathBuf,
    /// The cargo that runs it.
    pub cargo: PathBuf,
    /// The linker to name to cargo; `None` when the compiler knows its own.
    pub linker: Option<PathBuf>,
    /// What `rustc -vV` prints: the compiler's identity.
    pub version_text: String,
}

impl fmt::Display for Toolchain {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let version = self.version_text.lines().next().unwrap_or("rustc");
        let how = match self.method {
            Method::Wasip2 | Method::Unknown => "",
            Method::BuildStd => ", standard library from source",
        };
        write!(formatter, "{version} for {}{how}", self.method.target())
    }
}

/// Nothing on this machine can build for WebAssembly. `Display` says what was found and what to install.
#[derive(Debug)]
pub struct NoToolchain {
    found: Vec<Found>,
    wanted: Option<Method>,
}

impl std::error::Error for NoToolchain {}

/// Chooses the best way: by method first, then by the order of the compilers.
///
/// # Errors
/// [`NoToolchain`] when no compiler can go the wanted way, or any.
pub(crate) fn choose(found: &[Found], wanted: Option<Method>) -> Result<Toolchain, NoToolchain> {
    let methods =
        Method::ALL.into_iter().filter(|method| wanted.is_none_or(|wanted| wanted == *method));
    let mut ways = methods.flat_map(|method| found.iter().map(move |compiler| (method, compiler)));
    let Some((method, compiler)) = ways.find(|(method, compiler)| compiler.can(*method)) else {
        return Err(NoToolchain { found: found.to_vec(), wanted });
    };
    Ok(Toolchain {
        method,
        rustc: compiler.rustc.clone(),
        cargo: compiler.cargo.clone(),
        linker: if method == Method::Wasip2 { None } else { compiler.linker.clone() },
        version_text: compiler.version_text.clone(),
    })
}

impl fmt::Display for NoToolchain {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (major, minor) = OLDEST;
        match self.wanted {
            Some(wanted) => {
                write!(formatter, "no Rust toolchain can build plugins for {}", wanted.target())?
            }
            None => formatter.write_str("no Rust toolchain can build plugins for WebAssembly")?,
        }
        if self.found.is_empty() {
            formatter.write_str("\nfound: no `rustc` on PATH or in /usr/bin")?;
        }
        for compiler in &self.found {
            let version = compiler.version_text.lines().next().unwrap_or("rustc");
            let lack = if compiler.is_new_enough() {
                let standard = "it has no WebAssembly target and no source of the standard library";
                if compiler.has_source || compiler.has_unknown {
                    "it has no linker (`rust-lld`)"
                } else {
                    standard
                }
                .to_owned()
            } else {
                format!("it is older than {major}.{minor}")
            };
            write!(formatter, "\nfound: {version} at `{}`: {lack}", compiler.rustc.display())?;
        }
        write!(
            formatter,
            "\nhint: with rustup: `rustup target add wasm32-wasip2`\
             \nhint: on Debian or Ubuntu: `apt-get install rustc-web cargo-web rust-web-src` ({major}.{minor} or newer); \
             where that brings no `rust-lld`, also `apt-get install lld`"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compiler(name: &str) -> Found {
        Found {
            rustc: format!("/{name}/bin/rustc").into(),
            cargo: format!("/{name}/bin/cargo").into(),
            sysroot: format!("/{name}").into(),
            version_text: format!("rustc 1.95.0 ({name})\nhost: x"),
            version: (1, 95),
            has_wasip2: false,
            has_unknown: false,
            has_source: false,
            linker: Some("/lld".into()),
        }
    }

    #[test]
    fn the_best_way_is_taken() {
        let plain = compiler("plain");
        let wasip2 = Found { has_wasip2: true, ..compiler("wasip2") };
        let unknown = Found { has_unknown: true, ..compiler("unknown") };
        let both = Found { has_wasip2: true, has_unknown: true, ..compiler("both") };
        let source = Found { has_source: true, ..compiler("source") };
        let old = Found { has_wasip2: true, version: (1, 63), ..compiler("old") };
        let no_linker =
            Found { has_source: true, has_unknown: true, linker: None, ..compiler("no-linker") };
        let wasip2_alone = Found { linker: None, ..wasip2.clone() };
        let table = [
            (vec![&plain, &source], None, Some(("source", Method::BuildStd))),
            (vec![&source, &unknown], None, Some(("unknown", Method::Unknown))),
            (vec![&source, &unknown, &wasip2], None, Some(("wasip2", Method::Wasip2))),
            (vec![&both, &wasip2], None, Some(("both", Method::Wasip2))),
            (vec![&both], Some(Method::Unknown), Some(("both", Method::Unknown))),
            (vec![&old, &source], None, Some(("source", Method::BuildStd))),
            (vec![&wasip2_alone], None, Some(("wasip2", Method::Wasip2))),
            (vec![&no_linker], None, None),
            (vec![&wasip2], Some(Method::BuildStd), None),
            (vec![&plain, &old], None, None),
            (vec![], None, None),
        ];
        for (compilers, wanted, expected) in table {
            let compilers: Vec<_> = compilers.into_iter().cloned().collect();

            let chosen = choose(&compilers, wanted).ok();

            let chosen = chosen.map(|chosen| (chosen.rustc, chosen.method));
            let expected = expected.map(|(name, method)| (compiler(name).rustc, method));
            assert_eq!(chosen, expected, "{compilers:?} {wanted:?}");
        }
    }

    #[test]
    fn the_linker_is_named_where_the_component_is_made_here() {
        let source = Found { has_source: true, ..compiler("source") };
        let wasip2 = Found { has_wasip2: true, ..compiler("wasip2") };

        assert_eq!(choose(&[source], None).expect("a way").linker, Some("/lld".into()));
        assert_eq!(choose(&[wasip2], None).expect("a way").linker, None);
    }

    #[test]
    fn a_machine_without_a_way_is_told_what_to_install() {
        let old =
            Found { version: (1, 63), version_text: "rustc 1.63.0 (d)".into(), ..compiler("old") };
        let no_linker = Found { has_source: true, linker: None, ..compiler("source") };

        let message =
            choose(&[compiler("plain"), old, no_linker], None).expect_err("no way").to_string();

        assert_eq!(
            message,
            "no Rust toolchain can build plugins for WebAssembly\n\
             found: rustc 1.95.0 (plain) at `/plain/bin/rustc`: it has no WebAssembly target and no source of the standard library\n\
             found: rustc 1.63.0 (d) at `/old/bin/rustc`: it is older than 1.95\n\
             found: rustc 1.95.0 (source) at `/source/bin/rustc`: it has no linker (`rust-lld`)\n\
             hint: with rustup: `rustup target add wasm32-wasip2`\n\
             hint: on Debian or Ubuntu: `apt-get install rustc-web cargo-web rust-web-src` (1.95 or newer); where that brings no `rust-lld`, also `apt-get install lld`"
        );
    }
}
