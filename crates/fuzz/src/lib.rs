//! Every way of network bytes into the engine and the native client, as functions of an input; and a small mutational
//! fuzzer over them that runs on stable Rust, as ordinary tests.
//!
//! A target gets inputs made from valid seeds by random edits; what makes it panic is printed with the number that
//! makes it again. `FUZZ_SECONDS` says how long each target runs (1 by default, so that every test run fuzzes a
//! little), `FUZZ_SEED` where the random numbers begin. libFuzzer runs the same [`TARGETS`] from `fuzz/`, which needs
//! nightly Rust and is therefore no part of the workspace. What either has found worth keeping is in `corpus/`.

#![forbid(unsafe_code)]

pub mod targets;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;
use std::time::{Duration, Instant};

pub use targets::{TARGETS, Target};

/// Values at which parsers go wrong.
const INTERESTING: [u8; 9] = [0, 1, 0x7f, 0x80, 0xff, b'\n', b' ', b':', b'='];
const MAX_EDITS: usize = 8;
const MAX_SIZE: usize = 128 * 1024;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// The inputs of a target that are kept, in the order of their names.
pub fn corpus(name: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name);
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut paths: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.sort();
    paths.iter().filter_map(|path| std::fs::read(path).ok()).collect()
}

/// Runs a target over its seeds, its corpus and edits of both until its time is over. Returns how many inputs it got.
pub fn run(target: &Target) -> u64 {
    let mut seeds = (target.seeds)();
    seeds.extend(corpus(target.name));
    run_over(target.name, &seeds, target.read)
}

fn run_over(name: &str, seeds: &[Vec<u8>], target: impl Fn(&[u8])) -> u64 {
    let first = number("FUZZ_SEED").unwrap_or_else(|| fastrand::u64(..));
    let end = Instant::now() + Duration::from_secs(number("FUZZ_SECONDS").unwrap_or(1));
    for seed in seeds {
        target(seed);
    }
    let mut count = 0;
    while Instant::now() < end {
        let mut random = fastrand::Rng::with_seed(first.wrapping_add(count));
        let input = mutate(&mut random, seeds);
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| target(&input))) {
            let seed = first.wrapping_add(count);
            eprintln!("{name} panicked; FUZZ_SEED={seed} makes the input again: {input:02x?}");
            resume_unwind(panic);
        }
        count += 1;
    }
    count
}

fn mutate(random: &mut fastrand::Rng, seeds: &[Vec<u8>]) -> Vec<u8> {
    let mut input = random.choice(seeds).cloned().unwrap_or_default();
    for _ in 0..random.usize(1..=MAX_EDITS) {
        let at = random.usize(..=input.len());
        let to = random.usize(at..=input.len().min(at + 64));
        match random.u8(..8) {
            0 if at < input.len() => input[at] ^= 1 << random.u8(..8),
            1 if at < input.len() => input[at] = random.choice(INTERESTING).unwrap_or_default(),
            2 => input.insert(at, random.u8(..)),
            3 => {
                input.drain(at..to);
            }
            4 => {
                let copy = input[at..to].to_vec();
                let into = random.usize(..=input.len());
                input.splice(into..into, copy);
            }
            5 => input.truncate(at),
            6 => {
                let other = random.choice(seeds).map_or(&[][..], Vec::as_slice);
                let from = random.usize(..=other.len());
                input.truncate(at);
                input.extend_from_slice(&other[from..]);
            }
            _ => {
                for byte in &mut input[at..to] {
                    *byte = random.u8(..);
                }
            }
        }
        input.truncate(MAX_SIZE);
    }
    input
}
