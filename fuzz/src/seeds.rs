//! Writes small components that fit the contract, whole and with a flaw each: where fuzzing begins.

use std::fs;
use std::path::Path;

use wit_component::{ComponentEncoder, StringEncoding, dummy_module, embed_component_metadata};
use wit_parser::{ManglingAndAbi, Resolve};

fn main() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_dir(root.join("../wit")).expect("the contract can be read");
    for world in ["improvement-pattern", "step-validator", "imports"] {
        let id = resolve.select_world(&[package], Some(world)).expect("a world of the contract");
        let mut module = dummy_module(&resolve, id, ManglingAndAbi::Standard32);
        embed_component_metadata(&mut module, &resolve, id, StringEncoding::UTF8)
            .expect("the type fits into the module");
        let component = ComponentEncoder::default()
            .module(&module)
            .and_then(|mut encoder| encoder.encode())
            .expect("a component can be made of it");
        for target in ["load", "pack"] {
            let directory = root.join("corpus").join(target);
            fs::create_dir_all(&directory).expect("a directory can be made");
            let write = |name: String, bytes: &[u8]| {
                fs::write(directory.join(name), bytes).expect("a seed can be written");
            };
            write(format!("{world}.wasm"), &component);
            write(format!("{world}.core.wasm"), &module);
            write(format!("{world}.cut.wasm"), &component[..component.len() / 2]);
        }
    }
}
