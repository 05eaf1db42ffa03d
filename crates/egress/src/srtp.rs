//! Sealing and opening: SRTP and SRTCP with the profiles of WebRTC (RFC 3711, RFC 7714, RFC 5764).
//!
//! Ciphers are made once per session; per packet only a nonce is. Everything happens in place.

use std::fmt;

use aws_lc_rs::aead::{self, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::cipher::{self, EncryptingKey, EncryptionContext, UnboundCipherKey};
use aws_lc_rs::{constant_time, hmac};

const GCM_TAG: usize = 16;
const CM_TAG: usize = 10;
const CM_MAC_KEY: usize = 20;
/// Version, counts, length and the sender's SSRC stay readable.
const RTCP_HEADER: usize = 8;
/// Index and the bit that says that the packet is encrypted.
const RTCP_INDEX: usize = 4;
const ENCRYPTED: u32 = 1 << 31;

/// Bytes that sealing adds to RTP at most.
pub(crate) const RTP_OVERHEAD: usize = GCM_TAG;
/// Bytes that sealing adds to RTCP at most.
pub(crate) const RTCP_OVERHEAD: usize = GCM_TAG + RTCP_INDEX;

/// What a session key is for (RFC 3711, 4.3.1).
#[derive(Debug, Clone, Copy)]
struct Labels {
    key: u8,
    mac: u8,
    salt: u8,
}

const RTP: Labels = Labels { key: 0, mac: 1, salt: 2 };
const RTCP: Labels = Labels { key: 3, mac: 4, salt: 5 };

/// Protection that DTLS chose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// RFC 3711 with the 80-bit tag.
    Aes128CmSha1_80,
    /// RFC 7714.
    AeadAes128Gcm,
    /// RFC 7714.
    AeadAes256Gcm,
}

impl Profile {
    fn key_len(self) -> usize {
        match self {
            Self::Aes128CmSha1_80 | Self::AeadAes128Gcm => 16,
            Self::AeadAes256Gcm => 32,
        }
    }

    fn salt_len(self) -> usize {
        match self {
            Self::Aes128CmSha1_80 => 14,
            Self::AeadAes128Gcm | Self::AeadAes256Gcm => 12,
        }
    }
}

/// Makes the two halves from what DTLS exported.
#[derive(Debug)]
pub struct Keys;

impl Keys {
    /// `material` is client key, server key, client salt, server salt (RFC 5764); none if it is too short.
    pub fn from_dtls(material: &[u8], profile: Profile, we_are_client: bool) -> Option<(Sealing, Opening)> {
        let (key, salt) = (profile.key_len(), profile.salt_len());
        let (client_key, rest) = material.split_at_checked(key)?;
        let (server_key, rest) = rest.split_at_checked(key)?;
        let (client_salt, rest) = rest.split_at_checked(salt)?;
        let server_salt = rest.get(..salt)?;
        let (client, server) = ((client_key, client_salt), (server_key, server_salt));
        let (ours, theirs) = if we_are_client { (client, server) } else { (server, client) };
        let sealing = Sealing {
            rtp: Cipher::derive(profile, ours.0, ours.1, RTP)?,
            rtcp: Cipher::derive(profile, ours.0, ours.1, RTCP)?,
        };
        let opening = Opening { rtcp: Cipher::derive(profile, theirs.0, theirs.1, RTCP)? };
        Some((sealing, opening))
    }
}

/// What we send is sealed with it.
pub struct Sealing {
    rtp: Cipher,
    rtcp: Cipher,
}

/// The client's RTCP is opened with it.
pub struct Opening {
    rtcp: Cipher,
}

impl fmt::Debug for Sealing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sealing").finish_non_exhaustive()
    }
}

impl fmt::Debug for Opening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opening").finish_non_exhaustive()
    }
}

impl Sealing {
    /// Seals the first `len` bytes, a packet whose header ends at `header`; there must be room for [`RTP_OVERHEAD`].
    /// Returns the sealed length.
    pub(crate) fn seal_rtp(
        &self,
        room: &mut [u8],
        header: usize,
        len: usize,
        ssrc: u32,
        index: u64,
    ) -> Option<usize> {
        match &self.rtp {
            Cipher::Gcm { key, salt } => {
                let (head, rest) = room.split_at_mut_checked(header)?;
                let (body, rest) = rest.split_at_mut_checked(len.checked_sub(header)?)?;
                let nonce = nonce(*salt, ssrc, index);
                let tag = key.seal_in_place_separate_tag(nonce, Aad::from(&*head), body).ok()?;
                rest.get_mut(..GCM_TAG)?.copy_from_slice(tag.as_ref());
                Some(len + GCM_TAG)
            }
            Cipher::Cm { key, mac, salt } => {
                counter_mode(key, *salt, ssrc, index, room.get_mut(header..len)?)?;
                let (sealed, rest) = room.split_at_mut_checked(len)?;
                let tag = authenticate(mac, sealed, &((index >> 16) as u32).to_be_bytes());
                rest.get_mut(..CM_TAG)?.copy_from_slice(&tag);
                Some(len + CM_TAG)
            }
        }
    }

    /// Seals the first `len` bytes, a compound packet of RTCP; there must be room for 20 bytes more. Returns the sealed
    /// length. One SSRC uses each index once.
    pub fn seal_rtcp(&self, room: &mut [u8], len: usize, index: u32) -> Option<usize> {
        let trailer = (index | ENCRYPTED).to_be_bytes();
        let ssrc = u32::from_be_bytes(room.get(4..RTCP_HEADER)?.try_into().ok()?);
        match &self.rtcp {
            Cipher::Gcm { key, salt } => {
                let aad = rtcp_aad(room.get(..RTCP_HEADER)?, &trailer);
                let nonce = nonce(*salt, ssrc, index.into());
                let (body, rest) =
                    room.get_mut(RTCP_HEADER..)?.split_at_mut_checked(len.checked_sub(RTCP_HEADER)?)?;
                let tag = key.seal_in_place_separate_tag(nonce, Aad::from(aad), body).ok()?;
                rest.get_mut(..GCM_TAG)?.copy_from_slice(tag.as_ref());
                rest.get_mut(GCM_TAG..GCM_TAG + RTCP_INDEX)?.copy_from_slice(&trailer);
                Some(len + GCM_TAG + RTCP_INDEX)
            }
            Cipher::Cm { key, mac, salt } => {
                counter_mode(key, *salt, ssrc, index.into(), room.get_mut(RTCP_HEADER..len)?)?;
                let (sealed, rest) = room.split_at_mut_checked(len)?;
                let tag = authenticate(mac, sealed, &trailer);
                rest.get_mut(..RTCP_INDEX)?.copy_from_slice(&trailer);
                rest.get_mut(RTCP_INDEX..RTCP_INDEX + CM_TAG)?.copy_from_slice(&tag);
                Some(len + RTCP_INDEX + CM_TAG)
            }
        }
    }
}

/// A packet of RTCP that was authentic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Opened {
    /// Length of the compound packet, at the beginning of the datagram's room.
    pub(crate) len: usize,
    pub(crate) sender: u32,
    pub(crate) index: u32,
}

impl Opening {
    /// Opens a datagram in place. What is not encrypted is refused like what is not authentic.
    pub(crate) fn open_rtcp(&self, datagram: &mut [u8]) -> Option<Opened> {
        let sender = u32::from_be_bytes(datagram.get(4..RTCP_HEADER)?.try_into().ok()?);
        let tag_at = match &self.rtcp {
            Cipher::Gcm { .. } => datagram.len(),
            Cipher::Cm { .. } => datagram.len().checked_sub(CM_TAG)?,
        };
        let end = tag_at.checked_sub(RTCP_INDEX)?;
        let trailer: [u8; RTCP_INDEX] = datagram.get(end..tag_at)?.try_into().ok()?;
        let index = u32::from_be_bytes(trailer);
        if index & ENCRYPTED == 0 {
            return None;
        }
        let index = index & !ENCRYPTED;
        let len = match &self.rtcp {
            Cipher::Gcm { key, salt } => {
                let aad = rtcp_aad(datagram.get(..RTCP_HEADER)?, &trailer);
                let nonce = nonce(*salt, sender, index.into());
                let sealed = datagram.get_mut(RTCP_HEADER..end)?;
                RTCP_HEADER + key.open_in_place(nonce, Aad::from(aad), sealed).ok()?.len()
            }
            Cipher::Cm { key, mac, salt } => {
                let tag = authenticate(mac, datagram.get(..end)?, &trailer);
                constant_time::verify_slices_are_equal(&tag, datagram.get(tag_at..)?).ok()?;
                counter_mode(key, *salt, sender, index.into(), datagram.get_mut(RTCP_HEADER..end)?)?;
                end
            }
        };
        Some(Opened { len, sender, index })
    }
}

#[allow(clippy::large_enum_variant, reason = "one of them per session")]
enum Cipher {
    Gcm { key: LessSafeKey, salt: u128 },
    Cm { key: EncryptingKey, mac: hmac::Key, salt: u128 },
}

impl Cipher {
    fn derive(profile: Profile, master: &[u8], salt: &[u8], labels: Labels) -> Option<Self> {
        let prf = counter_key(master)?;
        let mut key = [0; 32];
        let key = &mut key[..profile.key_len()];
        derive(&prf, salt, labels.key, key)?;
        let mut mac = [0; CM_MAC_KEY];
        derive(&prf, salt, labels.mac, &mut mac)?;
        let mut session_salt = [0; 16];
        derive(&prf, salt, labels.salt, &mut session_salt[16 - profile.salt_len()..])?;
        Self::new(profile, key, u128::from_be_bytes(session_salt), &mac)
    }

    fn new(profile: Profile, key: &[u8], salt: u128, mac: &[u8; CM_MAC_KEY]) -> Option<Self> {
        let algorithm = match profile {
            Profile::Aes128CmSha1_80 => {
                let mac = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, mac);
                return Some(Self::Cm { key: counter_key(key)?, mac, salt });
            }
            Profile::AeadAes128Gcm => &aead::AES_128_GCM,
            Profile::AeadAes256Gcm => &aead::AES_256_GCM,
        };
        let key = LessSafeKey::new(UnboundKey::new(algorithm, key).ok()?);
        Some(Self::Gcm { key, salt })
    }
}

fn counter_key(key: &[u8]) -> Option<EncryptingKey> {
    let algorithm = if key.len() == 32 { &cipher::AES_256 } else { &cipher::AES_128 };
    EncryptingKey::ctr(UnboundCipherKey::new(algorithm, key).ok()?).ok()
}

/// RFC 3711, 4.3.3; the shorter salts of RFC 7714 are filled up with zeros behind.
fn derive(prf: &EncryptingKey, salt: &[u8], label: u8, out: &mut [u8]) -> Option<()> {
    let mut counter = [0; 16];
    counter[..salt.len()].copy_from_slice(salt);
    counter[7] ^= label;
    out.fill(0);
    encrypt(prf, counter, out)
}

/// RFC 3711, 4.1.1.
fn counter_mode(key: &EncryptingKey, salt: u128, ssrc: u32, index: u64, body: &mut [u8]) -> Option<()> {
    let counter = salt << 16 ^ u128::from(ssrc) << 64 ^ u128::from(index) << 16;
    encrypt(key, counter.to_be_bytes(), body)
}

/// RFC 7714, 8.1 and 9.1: the 48 bits of an RTP index are its ROC and its sequence number.
fn nonce(salt: u128, ssrc: u32, index: u64) -> Nonce {
    let value = salt ^ u128::from(ssrc) << 48 ^ u128::from(index);
    let mut nonce = [0; 12];
    nonce.copy_from_slice(&value.to_be_bytes()[4..]);
    Nonce::assume_unique_for_key(nonce)
}

fn encrypt(key: &EncryptingKey, counter: [u8; 16], body: &mut [u8]) -> Option<()> {
    key.less_safe_encrypt(body, EncryptionContext::Iv128(counter.into())).ok().map(|_| ())
}

fn authenticate(key: &hmac::Key, packet: &[u8], trailer: &[u8]) -> [u8; CM_TAG] {
    let mut context = hmac::Context::with_key(key);
    context.update(packet);
    context.update(trailer);
    let mut tag = [0; CM_TAG];
    tag.copy_from_slice(&context.sign().as_ref()[..CM_TAG]);
    tag
}

/// RFC 7714, 9.2.
fn rtcp_aad(head: &[u8], trailer: &[u8; RTCP_INDEX]) -> [u8; RTCP_HEADER + RTCP_INDEX] {
    let mut aad = [0; RTCP_HEADER + RTCP_INDEX];
    aad[..RTCP_HEADER].copy_from_slice(head);
    aad[RTCP_HEADER..].copy_from_slice(trailer);
    aad
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        let digits: Vec<u8> = text.chars().filter_map(|c| c.to_digit(16)).map(|d| d as u8).collect();
        digits.chunks(2).map(|d| d[0] << 4 | d[1]).collect()
    }

    /// RFC 3711, B.2.
    #[test]
    fn counter_mode_gives_the_key_stream_of_the_standard() {
        let key = counter_key(&hex("2B7E151628AED2A6ABF7158809CF4F3C")).unwrap();
        let salt = 0xF0F1_F2F3_F4F5_F6F7_F8F9_FAFB_FCFD;
        let mut stream = [0; 48];
        counter_mode(&key, salt, 0, 0, &mut stream).unwrap();
        let expected = hex("E03EAD0935C95E80E166B16DD92B4EB4 D23513162B02D0F72A43A2FE4A5F97AB
             41E95B3BB0A2E8DD477901E4FCA894C0");
        assert_eq!(stream.to_vec(), expected);
    }

    /// RFC 3711, B.3.
    #[test]
    fn session_keys_are_derived_as_in_the_standard() {
        let prf = counter_key(&hex("E1F97A0D3E018BE0D64FA32C06DE4139")).unwrap();
        let salt = hex("0EC675AD498AFEEBB6960B3AABE6");
        let derived = |label, len| {
            let mut out = vec![0; len];
            derive(&prf, &salt, label, &mut out).unwrap();
            out
        };
        assert_eq!(derived(0, 16), hex("C61E7A93744F39EE10734AFE3FF7A087"));
        assert_eq!(derived(2, 14), hex("30CBBC08863D8C85D49DB34A9AE1"));
        assert_eq!(
            derived(1, 94),
            hex("CEBE321F6FF7716B6FD4AB49AF256A15 6D38BAA48F0A0ACF3C34E2359E6CDBCE
                 E049646C43D9327AD175578EF7227098 6371C10C9A369AC2F94A8C5FBCDDDC25
                 6D6E919A48B610EF17C2041E47403576 6B68642C59BBFC2F34DB60DBDFB2")
        );
    }

    fn gcm(profile: Profile, key: &str) -> Cipher {
        let salt = 0x5175_6964_2070_726f_2071_756f;
        Cipher::new(profile, &hex(key), salt, &[0; CM_MAC_KEY]).unwrap()
    }

    const KEY_128: &str = "000102030405060708090a0b0c0d0e0f";
    const KEY_256: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
    const RTP_PLAIN: &str = "8040f17b 8041f8d3 5501a0b2 47616c6c 69612065 7374206f 6d6e6973 20646976
         69736120 696e2070 61727465 73207472 6573";

    fn rtp_is_sealed(profile: Profile, key: &str, expected: &str) {
        let sealing = Sealing { rtp: gcm(profile, key), rtcp: gcm(profile, key) };
        let mut packet = hex(RTP_PLAIN);
        let len = packet.len();
        packet.resize(len + RTP_OVERHEAD, 0);
        let sealed = sealing.seal_rtp(&mut packet, 12, len, 0x5501_a0b2, 0xf17b).unwrap();
        assert_eq!(packet[..sealed].to_vec(), hex(expected));
    }

    /// RFC 7714, 16.1.1 and 16.2.1.
    #[test]
    fn rtp_is_sealed_as_in_the_standard() {
        rtp_is_sealed(
            Profile::AeadAes128Gcm,
            KEY_128,
            "8040f17b 8041f8d3 5501a0b2 f24de3a3 fb34de6c acba861c 9d7e4bca be633bd5
             0d294e6f 42a5f47a 51c7d19b 36de3adf 8833899d 7f27beb1 6a9152cf 765ee439
             0cce",
        );
        rtp_is_sealed(
            Profile::AeadAes256Gcm,
            KEY_256,
            "8040f17b 8041f8d3 5501a0b2 32b1de78 a822fe12 ef9f78fa 332e33aa b1801238
             9a58e2f3 b50b2a02 76ffae0f 1ba63799 b87b7aa3 db36dfff d6b0f9bb 7878d7a7
             6c13",
        );
    }

    const RTCP_PLAIN: &str = "81c8000d 4d617273 4e545031 4e545032 52545020 0000042a 0000e930 4c756e61
         deadbeef deadbeef deadbeef deadbeef deadbeef";

    fn rtcp_is_sealed_and_opened(profile: Profile, key: &str, expected: &str) {
        let sealing = Sealing { rtp: gcm(profile, key), rtcp: gcm(profile, key) };
        let opening = Opening { rtcp: gcm(profile, key) };
        let mut packet = hex(RTCP_PLAIN);
        let len = packet.len();
        packet.resize(len + RTCP_OVERHEAD, 0);
        let sealed = sealing.seal_rtcp(&mut packet, len, 0x5d4).unwrap();
        assert_eq!(packet[..sealed].to_vec(), hex(expected));
        let opened = opening.open_rtcp(&mut packet[..sealed]).unwrap();
        assert_eq!(opened, Opened { len, sender: 0x4d61_7273, index: 0x5d4 });
        assert_eq!(packet[..len].to_vec(), hex(RTCP_PLAIN));
    }

    /// RFC 7714, 17.1 and 17.3.
    #[test]
    fn rtcp_is_sealed_and_opened_as_in_the_standard() {
        rtcp_is_sealed_and_opened(
            Profile::AeadAes128Gcm,
            KEY_128,
            "81c8000d 4d617273 63e94885 dcdab67c a727d766 2f6b7e99 7ff5c0f7 6c06f32d
             c676a5f1 730d6fda 4ce09b46 86303ded 0bb9275b c84aa458 96cf4d2f c5abf872
             45d9eade 800005d4",
        );
        rtcp_is_sealed_and_opened(
            Profile::AeadAes256Gcm,
            KEY_256,
            "81c8000d 4d617273 d50ae4d1 f5ce5d30 4ba297e4 7d470c28 2c3ece5d bffe0a50
             a2eaa5c1 110555be 8415f658 c61de047 6f1b6fad 1d1eb30c 4446839f 57ff6f6c
             b26ac3be 800005d4",
        );
    }

    const PROFILES: [Profile; 3] = [Profile::Aes128CmSha1_80, Profile::AeadAes128Gcm, Profile::AeadAes256Gcm];

    #[test]
    fn what_one_side_sealed_only_the_other_opens() {
        let material: Vec<u8> = (0..120).collect();
        for profile in PROFILES {
            let (server, at_server) = Keys::from_dtls(&material, profile, false).unwrap();
            let (_, at_client) = Keys::from_dtls(&material, profile, true).unwrap();
            let plain = hex(RTCP_PLAIN);
            let mut packet = plain.clone();
            packet.resize(plain.len() + RTCP_OVERHEAD, 0);
            let sealed = server.seal_rtcp(&mut packet, plain.len(), 7).unwrap();
            assert!(at_server.open_rtcp(&mut packet[..sealed].to_vec()).is_none());
            let opened = at_client.open_rtcp(&mut packet[..sealed].to_vec()).unwrap();
            assert_eq!((opened.len, opened.index), (plain.len(), 7));
        }
    }

    #[test]
    fn any_changed_bit_and_any_cut_is_found() {
        let material: Vec<u8> = (0..120).collect();
        for profile in PROFILES {
            let (sealing, _) = Keys::from_dtls(&material, profile, false).unwrap();
            let (_, opening) = Keys::from_dtls(&material, profile, true).unwrap();
            let mut packet = hex(RTCP_PLAIN);
            let len = packet.len();
            packet.resize(len + RTCP_OVERHEAD, 0);
            let sealed = sealing.seal_rtcp(&mut packet, len, 7).unwrap();
            for bit in 0..sealed * 8 {
                let mut changed = packet[..sealed].to_vec();
                changed[bit / 8] ^= 1 << (bit % 8);
                assert!(opening.open_rtcp(&mut changed).is_none(), "{profile:?} {bit}");
            }
            for cut in 0..sealed {
                assert!(opening.open_rtcp(&mut packet[..cut].to_vec()).is_none(), "{profile:?} {cut}");
            }
        }
    }

    #[test]
    fn material_that_is_too_short_gives_no_keys() {
        for (profile, needed) in PROFILES.into_iter().zip([60, 56, 88]) {
            assert!(Keys::from_dtls(&vec![0; needed - 1], profile, true).is_none());
            assert!(Keys::from_dtls(&vec![0; needed], profile, true).is_some());
        }
    }
}
