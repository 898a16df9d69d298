//! What kind of project a set of files is, told from their paths.

use crate::compose::is_compose_name;
use crate::image::ImageName;

/// A kind of project.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ProjectKind {
    /// Services in a compose file.
    Compose,
    /// Kubernetes manifests.
    Kubernetes,
    /// Python: a project file, requirements, or sources.
    Python,
    /// JavaScript or TypeScript with a `package.json`.
    Node,
    /// Rust with a `Cargo.toml`.
    Rust,
    /// Go with a `go.mod`.
    Go,
}

impl ProjectKind {
    /// Returns the word used in parameters and files.
    pub fn as_str(self) -> &'static str {
        match self {
            ProjectKind::Compose => "compose",
            ProjectKind::Kubernetes => "kubernetes",
            ProjectKind::Python => "python",
            ProjectKind::Node => "node",
            ProjectKind::Rust => "rust",
            ProjectKind::Go => "go",
        }
    }
}

/// A kind and the file that shows it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Detected {
    /// The kind.
    pub kind: ProjectKind,
    /// The file.
    pub path: String,
}

/// Returns the kinds that files show by their names, each with the file nearest to the root, ordered by kind.
/// Kubernetes cannot be told by names: it is for the caller to read manifests.
pub fn detect<'p>(paths: impl IntoIterator<Item = &'p str>) -> Vec<Detected> {
    let mut found: Vec<Detected> = Vec::new();
    for path in paths {
        if is_vendored(path) {
            continue;
        }
        let name = path.rsplit('/').next().unwrap_or(path);
        let kind = match name {
            "pyproject.toml" | "requirements.txt" | "setup.py" | "setup.cfg" | "Pipfile"
            | "manage.py" => ProjectKind::Python,
            "package.json" => ProjectKind::Node,
            "Cargo.toml" => ProjectKind::Rust,
            "go.mod" => ProjectKind::Go,
            _ if is_compose_name(name) => ProjectKind::Compose,
            _ if extension(name) == Some("py") => ProjectKind::Python,
            _ => continue,
        };
        let rank = |path: &str| {
            let source = extension(path) == Some("py") && !path.ends_with("setup.py");
            (source, path.matches('/').count(), path.to_owned())
        };
        match found.iter_mut().find(|detected| detected.kind == kind) {
            Some(known) if rank(path) < rank(&known.path) => path.clone_into(&mut known.path),
            Some(_) => {}
            None => found.push(Detected { kind, path: path.to_owned() }),
        }
    }
    found.sort();
    found
}

/// Returns whether a path lies in a directory of foreign or generated code.
pub fn is_vendored(path: &str) -> bool {
    let mut parts: Vec<&str> = path.split('/').collect();
    parts.pop();
    parts.iter().any(|part| {
        matches!(
            *part,
            "node_modules"
                | "vendor"
                | "target"
                | "dist"
                | ".venv"
                | "venv"
                | "__pycache__"
                | ".git"
                | "site-packages"
                | ".tox"
                | ".mypy_cache"
        )
    })
}

/// Returns whether a path is a source file of a language whose routes and sockets can be looked for.
pub fn is_source(path: &str) -> bool {
    matches!(
        extension(path),
        Some(
            "py" | "js"
                | "mjs"
                | "cjs"
                | "ts"
                | "tsx"
                | "jsx"
                | "go"
                | "rs"
                | "java"
                | "kt"
                | "rb"
                | "php"
                | "cs"
        )
    )
}

/// Returns whether a path is that of a test.
pub fn is_test(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    let in_folder = path
        .split('/')
        .rev()
        .skip(1)
        .any(|part| matches!(part, "test" | "tests" | "__tests__" | "spec"));
    let stem = name.split('.').next().unwrap_or(name);
    in_folder
        || stem.starts_with("test_")
        || stem.ends_with("_test")
        || name.contains(".test.")
        || name.contains(".spec.")
}

/// Returns the extension of a file name, without its dot.
pub fn extension(path: &str) -> Option<&str> {
    let name = path.rsplit('/').next().unwrap_or(path);
    let (stem, extension) = name.rsplit_once('.')?;
    (!stem.is_empty()).then_some(extension)
}

/// Tools that an image brings for a check from inside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ImageTools {
    /// A POSIX shell.
    pub shell: bool,
    /// `curl`.
    pub curl: bool,
    /// `wget`, of GNU or of busybox.
    pub wget: bool,
    /// `python3` (as `python`, too).
    pub python: bool,
    /// `node`.
    pub node: bool,
    /// `bash`, which can open TCP connections by itself.
    pub bash: bool,
    /// `nc` of busybox.
    pub nc: bool,
}

/// Returns what is known of an official image by its name and tag; nothing for images that nothing is known of.
///
/// Source: the Dockerfiles of the official images. Tags with `alpine` bring busybox; full Debian tags of the language
/// images are built on `buildpack-deps`, which has curl and wget; `slim` tags have neither.
pub fn image_tools(image: &ImageName) -> Option<ImageTools> {
    let none = ImageTools::default();
    if image.registry.as_deref() == Some("gcr.io") && image.repository.starts_with("distroless/") {
        return Some(none);
    }
    let name = image.official()?;
    let alpine = name == "alpine" || image.tag_has("alpine");
    let slim = image.tag_has("slim");
    let busybox = ImageTools { shell: true, wget: true, nc: true, ..none };
    let debian = ImageTools { shell: true, bash: true, ..none };
    let language = |tools: ImageTools| {
        if alpine {
            ImageTools { shell: true, wget: true, nc: true, bash: false, curl: false, ..tools }
        } else if slim {
            ImageTools { shell: true, bash: true, ..tools }
        } else {
            ImageTools { shell: true, bash: true, curl: true, wget: true, ..tools }
        }
    };
    Some(match name {
        "alpine" | "busybox" => busybox,
        "python" => language(ImageTools { python: true, ..none }),
        "node" => {
            let tools = language(ImageTools { node: true, ..none });
            // The full image of node is built on buildpack-deps, which brings Python for its native modules.
            if alpine || slim { tools } else { ImageTools { python: true, ..tools } }
        }
        "golang" | "rust" | "ruby" | "perl" | "gcc" => language(none),
        "debian" | "ubuntu" => debian,
        "php" if alpine => ImageTools { curl: true, ..busybox },
        "php" => ImageTools { curl: true, ..debian },
        "nginx" if alpine && !slim => ImageTools { curl: true, ..busybox },
        "nginx" if alpine => busybox,
        "nginx" => ImageTools { curl: true, ..debian },
        "httpd" | "postgres" | "redis" | "memcached" if alpine => busybox,
        "httpd" | "postgres" | "redis" | "memcached" | "mysql" | "mariadb" | "mongo" => debian,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_told_from_names_nearest_to_the_root() {
        let paths = [
            "app/requirements.txt",
            "app/x.py",
            "compose.yaml",
            "web/package.json",
            "node_modules/a/package.json",
        ];
        let found: Vec<_> = detect(paths)
            .into_iter()
            .map(|one| format!("{} {}", one.kind.as_str(), one.path))
            .collect();
        assert_eq!(
            found,
            ["compose compose.yaml", "python app/requirements.txt", "node web/package.json"]
        );
    }

    #[test]
    fn tests_are_told_from_sources() {
        for path in ["tests/x.py", "a/test_x.py", "x_test.go", "src/a.test.ts", "__tests__/a.js"] {
            assert!(is_test(path), "{path}");
        }
        for path in ["src/contest.py", "latest.js", "src/main.rs"] {
            assert!(!is_test(path), "{path}");
        }
    }

    #[test]
    fn slim_images_bring_no_curl() {
        let tools = |text: &str| image_tools(&ImageName::parse(text).expect("is a name"));
        assert!(!tools("python:3.12-slim").expect("is known").curl);
        assert!(tools("python:3.12").expect("is known").curl);
        assert!(tools("node:20-alpine3.19").expect("is known").wget);
        assert!(!tools("gcr.io/distroless/static").expect("is known").shell);
        assert_eq!(tools("example.com/team/python:3"), None);
    }
}
