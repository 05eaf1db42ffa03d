//! All targets in one program, which is linked once; `FUZZ_TARGET` names the one that is meant. With `FUZZ_SEEDS` it first
//! writes the target's seeds into that folder.

#![no_main]

use std::path::Path;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use rtcloud_fuzz::{Target, targets};

static TARGET: LazyLock<&Target> = LazyLock::new(|| {
    let name = std::env::var("FUZZ_TARGET").unwrap_or_default();
    let target = targets::find(&name).unwrap_or_else(|| panic!("FUZZ_TARGET names no target: {name:?}"));
    if let Some(folder) = std::env::var_os("FUZZ_SEEDS") {
        for (index, seed) in (target.seeds)().iter().enumerate() {
            std::fs::write(Path::new(&folder).join(format!("seed-{index:03}")), seed)
                .expect("a folder to write to");
        }
    }
    target
});

fuzz_target!(|input: &[u8]| (TARGET.read)(input));
