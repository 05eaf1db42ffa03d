//! Memory is safe whatever comes from the network, because the compiler allows no crate but the Python binding what is not.

#![allow(clippy::unwrap_used, reason = "a failure here is a failed test")]

use std::path::Path;

const BINDING: &str = "media-py";

#[test]
fn unsafe_code_is_forbidden_everywhere_but_in_the_binding() {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut seen = 0;
    for entry in std::fs::read_dir(crates).unwrap() {
        let folder = entry.unwrap().path();
        if folder.ends_with(BINDING) {
            continue;
        }
        let sources = folder.join("src");
        assert!(!sources.join("main.rs").exists(), "{} is a program: look there too", folder.display());
        let text = std::fs::read_to_string(sources.join("lib.rs")).unwrap();
        assert!(text.contains("\n#![forbid(unsafe_code)]\n"), "{}", folder.display());
        seen += 1;
    }
    assert!(seen >= 6, "{seen}");
}
