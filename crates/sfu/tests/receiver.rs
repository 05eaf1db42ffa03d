//! The simulated receiver itself: what it shows, what it calls a freeze, what it hears.

#![allow(clippy::unwrap_used, reason = "a failure here is a failed test")]

mod world;

use std::time::{Duration, Instant};

use world::pictures::{Freezes, Pictures, flaps};
use world::stamp::Stamp;

const MS: Duration = Duration::from_millis(1);
const INTERVAL: u64 = 33_333;

fn packet(number: u32, index: u16, key: bool) -> Stamp {
    Stamp { layer: 2, key, index, count: 2, number, captured: u64::from(number) * INTERVAL }
}

/// Both packets of a frame, so many milliseconds after its capture.
fn frame(pictures: &mut Pictures, start: Instant, number: u32, key: bool, took: u32) {
    for index in 0..2 {
        let stamp = packet(number, index, key);
        pictures.handle(stamp, start + Duration::from_micros(stamp.captured) + MS * took);
    }
}

#[test]
fn stamps_come_out_as_they_went_in() {
    let stamp = packet(77, 1, true);
    assert_eq!(Stamp::read_picture(&stamp.picture(200)), Some(stamp));
    assert_eq!(Stamp::read_sound(&stamp.sound(80)), Some(stamp));
    assert_eq!(Stamp::read_picture(&[1, 2, 3]), None);
    let before = packet(76, 0, false).sound(80);
    let mut both = vec![0x80 | 111, 0x0f, 0x00, 80, 111];
    both.extend_from_slice(&before);
    both.extend_from_slice(&stamp.sound(80));
    assert_eq!(Stamp::read_redundant(&both), Some(vec![packet(76, 0, false), stamp]));
    assert_eq!(Stamp::read_redundant(&both[..20]), None);
}

#[test]
fn a_steady_stream_is_shown_without_a_freeze() {
    let start = Instant::now();
    let mut pictures = Pictures::new(start);
    for number in 1..=300 {
        frame(&mut pictures, start, number, number == 1, 40);
    }
    assert_eq!(pictures.shown.len(), 300);
    assert_eq!(pictures.freezes(start, start + 10_040 * MS), Freezes::default());
    assert_eq!(pictures.shown[299].at, start + Duration::from_micros(300 * INTERVAL) + 40 * MS);
}

#[test]
fn nothing_is_shown_before_a_key_picture_or_after_a_gap_until_the_next() {
    let start = Instant::now();
    let mut pictures = Pictures::new(start);
    for number in 1..=40 {
        if number != 20 {
            frame(&mut pictures, start, number, number == 5 || number == 31, 40);
        }
    }
    let shown: Vec<u64> = pictures.shown.iter().map(|s| s.captured / INTERVAL).collect();
    assert_eq!(shown, (5..20).chain(31..=40).collect::<Vec<_>>());
    let freezes = pictures.freezes(start, start + 1400 * MS);
    assert_eq!(freezes.count, 1);
    assert_eq!(freezes.time.as_micros(), 12 * u128::from(INTERVAL));
}

#[test]
fn a_repaired_frame_lets_those_behind_it_go() {
    let start = Instant::now();
    let mut pictures = Pictures::new(start);
    for number in 1..=10 {
        pictures.handle(packet(number, 0, number == 1), start + MS * (number * 33 + 40));
        if number != 5 {
            pictures.handle(packet(number, 1, number == 1), start + MS * (number * 33 + 40));
        }
        if number == 7 {
            assert_eq!(pictures.shown.len(), 4);
            pictures.handle(packet(5, 1, false), start + MS * (number * 33 + 40));
            assert_eq!(pictures.shown.len(), 7);
        }
    }
    assert_eq!(pictures.shown.len(), 10);
    let again = packet(5, 1, false);
    pictures.handle(again, start + MS * 500);
    assert_eq!(pictures.shown.len(), 10, "what comes twice is shown once");
}

#[test]
fn late_frames_make_the_playout_delay_grow() {
    let start = Instant::now();
    let mut pictures = Pictures::new(start);
    for number in 1..=300 {
        let took = if number % 10 == 0 { 180 } else { 40 };
        frame(&mut pictures, start, number, number == 1, took);
    }
    let last = pictures.shown[295];
    assert_eq!(last.at, start + Duration::from_micros(last.captured) + 180 * MS);
    assert_eq!(pictures.freezes(start + 5000 * MS, start + 10_000 * MS).count, 0, "it waits for late ones");
}

#[test]
fn a_picture_that_stands_at_the_end_is_a_freeze_too() {
    let start = Instant::now();
    let mut pictures = Pictures::new(start);
    for number in 1..=30 {
        frame(&mut pictures, start, number, number == 1, 0);
    }
    let freezes = pictures.freezes(start, start + 3000 * MS);
    assert_eq!((freezes.count, freezes.time.as_millis()), (1, 2000));
    let mut single = Pictures::new(start);
    frame(&mut single, start, 1, true, 0);
    assert_eq!(single.freezes(start, start + 3000 * MS).count, 1);
}

#[test]
fn a_switch_back_within_ten_seconds_is_a_flap() {
    let start = Instant::now();
    let at = |seconds: u64, layer: u8| (start + Duration::from_secs(seconds), layer);
    assert_eq!(flaps(2, &[at(1, 1), at(2, 0)]), 0, "down and further down");
    assert_eq!(flaps(2, &[at(1, 1), at(5, 2)]), 1);
    assert_eq!(flaps(2, &[at(1, 1), at(15, 2)]), 0, "much later");
    assert_eq!(flaps(2, &[at(1, 1), at(5, 2), at(8, 1)]), 2);
    assert_eq!(flaps(2, &[at(1, 1), at(5, 2), at(24, 1), at(27, 2)]), 1, "never two within ten seconds");
}
