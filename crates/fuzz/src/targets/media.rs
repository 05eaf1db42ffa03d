//! What is read of media.

use rtcloud_sfu::fuzzing;

/// A payload, as every codec's, and the numbers it gets.
pub fn payloads(input: &[u8]) {
    fuzzing::read_payload(input);
}

pub fn payload_seeds() -> Vec<Vec<u8>> {
    vec![
        vec![0x78, 0, 2, 0x09, 0xf0, 0, 2, 0x67, 1],
        vec![0x90, 0xf0, 0x81, 0x02, 7, 0x20, 0x10, 0x00],
        vec![0xa8, 0x81, 0x02, 0x03],
    ]
}

/// Packets of sound with redundancy.
pub fn sound(input: &[u8]) {
    fuzzing::read_sound(input);
}

pub fn sound_seeds() -> Vec<Vec<u8>> {
    let packet = |step: u8, blocks: &[u8]| [&[blocks.len() as u8, step][..], blocks].concat();
    vec![
        [packet(0x1f, &[111, 1, 2]), packet(0x2f, &[0xef, 0x0f, 0x00, 2, 111, 1, 2, 3, 4])].concat(),
        [packet(0x1f, &[111, 9]), packet(0x3f, &[0xef, 0x1e, 0, 1, 0xef, 0x0f, 0, 1, 111, 5, 6, 7])].concat(),
    ]
}

/// Packets of pictures of which layers are left out.
pub fn layers(input: &[u8]) {
    fuzzing::leave_out(input);
}

pub fn layer_seeds() -> Vec<Vec<u8>> {
    let packet = |aim: u8, payload: &[u8]| [&[payload.len() as u8, aim][..], payload].concat();
    let vp8 = |id: u8, layer: u8| packet(0x70, &[0x90, 0xf0, 0x81, id, 7, layer, 0x10, 0x00]);
    let key = [&[0xaa, 0x81, 0x02, 0, 9, 0x58][..], &[0; 12], &[1, 0x14, 4, 0xff]].concat();
    vec![
        [vp8(1, 0x23), vp8(2, 0x83), vp8(3, 0x63)].concat(),
        [packet(0x72, &key), packet(0x10, &[0xe8, 0x81, 0x03, 0x35, 9, 0xff])].concat(),
        [packet(0x72, &[0xf4, 0x05, 0x40, 0x03, 0x08, 0xff]), packet(0, &[0x7c, 0x85, 1])].concat(),
    ]
}
