//! Calls on bad networks, one for each line of standard input, in simulated time and on several threads.
//!
//! A line is `side loss run rtt_ms bits_per_s steady_s seed` (side `down` or `up`, 0 bits for no limit); for each, in any
//! order, the same line comes out followed by what the viewer had, as `name=value`. `benches/netem.py` asks and makes the
//! table.

#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a program for developers")]

#[path = "../tests/world/mod.rs"]
mod world;

use std::io::Read;
use std::sync::Mutex;
use std::time::Duration;

use world::cell::{Cell, Had, Side};

fn read(line: &str) -> Cell {
    let parts: Vec<&str> = line.split_whitespace().collect();
    let number = |at: usize| parts[at].parse::<f64>().unwrap();
    Cell {
        side: if parts[0] == "up" { Side::Uplink } else { Side::Downlink },
        loss: number(1),
        run: number(2),
        rtt: Duration::from_secs_f64(number(3) / 1000.0),
        rate: Some(number(4) as u64).filter(|bits| *bits > 0),
        steady: Duration::from_secs_f64(number(5)),
        seed: number(6) as u64,
    }
}

fn write(had: &Had) -> String {
    let ms = |of: Option<Duration>| of.map_or_else(|| "-".to_owned(), |d| d.as_millis().to_string());
    format!(
        "first_ms={} freezes={} freeze_ratio={:.4} fps={:.1} height={:.0} sound={:.4} settled_ms={} flaps={} \
         recovered_ms={} as_before_ms={} keyframes={} bits={}",
        ms(had.first_picture),
        had.freezes,
        had.freeze_ratio,
        had.fps,
        had.height,
        had.sound,
        ms(had.settled),
        had.flaps,
        ms(had.recovered),
        ms(had.as_before),
        had.keyframes_asked,
        had.bits,
    )
}

fn main() {
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text).unwrap();
    let lines: Vec<String> = text.lines().rev().filter(|l| !l.trim().is_empty()).map(str::to_owned).collect();
    let waiting = Mutex::new(lines);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let Some(line) = waiting.lock().unwrap().pop() else { return };
                    println!("{line} {}", write(&read(&line).run()));
                }
            });
        }
    });
}
