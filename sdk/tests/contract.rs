//! Holds the contract's text to its recorded hashes, and the sdk's promises about size.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use caelum_sdk::sha256_hex;

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

#[test]
fn the_text_of_the_contract_is_the_recorded_one() {
    let wit = repository().join("wit");
    let recorded: BTreeMap<String, String> = fs::read_to_string(wit.join("frozen.sha256"))
        .expect("the hashes")
        .lines()
        .filter_map(|line| line.split_once("  "))
        .map(|(hash, name)| (name.to_owned(), hash.to_owned()))
        .collect();

    let files =
        fs::read_dir(&wit).expect("the contract").map(|entry| entry.expect("an entry").path());
    let files = files.filter(|path| path.extension().is_some_and(|extension| extension == "wit"));
    let actual: BTreeMap<String, String> = files
        .map(|path| {
            let name = path.file_name().expect("a name").to_string_lossy().into_owned();
            (name, sha256_hex(&fs::read(&path).expect("a file")))
        })
        .collect();

    assert_eq!(
        actual, recorded,
        "the contract's text has changed: see `wit/README.md` for what may change; \
         `sha256sum *.wit > frozen.sha256` in `wit/` records the new text"
    );
}

#[test]
fn every_item_of_the_contract_says_since_when() {
    for entry in fs::read_dir(repository().join("wit")).expect("the contract") {
        let path = entry.expect("an entry").path();
        if path.extension().is_none_or(|extension| extension != "wit") {
            continue;
        }
        let text = fs::read_to_string(&path).expect("a file");
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        for (index, line) in lines.iter().enumerate() {
            let first = line.split([' ', ':']).next().unwrap_or_default();
            let kind = [
                "interface",
                "world",
                "type",
                "enum",
                "record",
                "variant",
                "use",
                "include",
                "import",
                "export",
            ];
            let gated =
                (kind.contains(&first) && !line.starts_with("record:")) || line.contains(": func(");
            if gated && !line.starts_with("///") {
                let above = lines[index.saturating_sub(1)];
                assert_eq!(
                    above,
                    "@since(version = 0.1.0)",
                    "{}:{}: {line}",
                    path.display(),
                    index + 1
                );
            }
        }
    }
}

#[test]
fn the_package_holds_the_contract_and_what_it_refers_to() {
    let listed = Command::new(env!("CARGO"))
        .args(["package", "--list", "--allow-dirty", "--offline"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo starts");

    let listed_files = String::from_utf8_lossy(&listed.stdout);
    let complaint = String::from_utf8_lossy(&listed.stderr);
    let has = |name: &str| listed_files.lines().any(|line| line == name);
    let wit = fs::read_dir(repository().join("wit")).expect("the contract");
    for entry in wit {
        let name = format!("wit/{}", entry.expect("an entry").file_name().to_string_lossy());
        assert!(has(&name), "{name} is not in the package:\n{listed_files}{complaint}");
    }
    assert!(has("src/lib.rs") && has("README.md") && has("LICENSE-MIT"), "{listed_files}");
    assert!(!listed_files.contains("templates/"), "templates belong to the program");
}

#[test]
fn the_smallest_validator_has_at_most_ten_lines() {
    let guest = fs::read_to_string(repository().join("tests/guests/all-zero/src/lib.rs"))
        .expect("the guest");
    let code: Vec<&str> =
        guest.lines().filter(|line| !line.trim().is_empty() && !line.starts_with("//!")).collect();

    assert!(code.len() <= 10, "{} lines", code.len());
    for text in ["sdk/README.md", "sdk/src/lib.rs"] {
        let text = fs::read_to_string(repository().join(text)).expect("a file").replace("//! ", "");
        assert!(
            text.contains(&code.join("\n")),
            "the front page shows another validator than the guest"
        );
    }
}
