//! Whether what came was authentic.
//!
//! str0m does not say which datagrams passed the checks of DTLS and SRTP. Who decrypts knows: the ciphers and DTLS
//! sessions that transports get are wrapped here, and what they opened is counted, per thread. A datagram was
//! authentic if the count grew while its transport took it.
//!
//! The same wrapper sees what keys a DTLS session came to. They are kept, one set per thread, until the transport whose
//! str0m call brought them takes them, right after that call: packets are sealed with them beside str0m.

use std::cell::{Cell, RefCell};
use std::sync::{Arc, LazyLock};
use std::time::Instant;

use dimpl::Dtls;
use rtcloud_egress::{Keys, Opening, Profile, Sealing};
use str0m::config::DtlsCert;
use str0m::crypto::dtls::{
    DtlsImplError, DtlsInstance, DtlsOutput, DtlsProvider, DtlsVersion, ProtocolVersion, SrtpProfile,
};
use str0m::crypto::{
    AeadAes128GcmCipher, AeadAes256GcmCipher, Aes128CmSha1_80Cipher, CryptoError, CryptoProvider,
    SrtpProvider, SupportedAeadAes128Gcm, SupportedAeadAes256Gcm, SupportedAes128CmSha1_80,
};

use crate::handshake;

thread_local! {
    static COUNT: Cell<u64> = const { Cell::new(0) };
    static KEYS: RefCell<Option<(Sealing, Opening)>> = const { RefCell::new(None) };
}

/// The keys that a str0m call on this thread brought since this was last called.
pub(crate) fn take_keys() -> Option<(Sealing, Opening)> {
    KEYS.take()
}

/// Keys that nobody took are another connection's: its room ended in the middle of it, or it is closing.
pub(crate) fn forget_keys() {
    KEYS.set(None);
}

/// How much this thread has opened so far.
pub(crate) fn count() -> u64 {
    COUNT.get()
}

fn add() {
    COUNT.set(COUNT.get().wrapping_add(1));
}

static INNER: LazyLock<CryptoProvider> = LazyLock::new(str0m::crypto::from_feature_flags);
static SHARED: LazyLock<Arc<CryptoProvider>> = LazyLock::new(|| {
    let mut provider = INNER.clone();
    provider.srtp_provider = &Counting;
    provider.dtls_provider = &Counting;
    Arc::new(provider)
});

/// The crypto library of transports.
pub(crate) fn crypto() -> Arc<CryptoProvider> {
    Arc::clone(&SHARED)
}

/// Hands on to the library, and wraps what opens.
#[derive(Debug)]
struct Counting;

impl SrtpProvider for Counting {
    fn aes_128_cm_sha1_80(&self) -> &'static dyn SupportedAes128CmSha1_80 {
        &Self
    }

    fn aead_aes_128_gcm(&self) -> &'static dyn SupportedAeadAes128Gcm {
        &Self
    }

    fn aead_aes_256_gcm(&self) -> &'static dyn SupportedAeadAes256Gcm {
        &Self
    }

    fn srtp_aes_128_ecb_round(&self, key: &[u8], input: &[u8], output: &mut [u8]) {
        INNER.srtp_provider.srtp_aes_128_ecb_round(key, input, output);
    }

    fn srtp_aes_256_ecb_round(&self, key: &[u8], input: &[u8], output: &mut [u8]) {
        INNER.srtp_provider.srtp_aes_256_ecb_round(key, input, output);
    }
}

/// Something of the library that opens what comes.
#[derive(Debug)]
struct Watched<T: ?Sized>(Box<T>);

impl SupportedAes128CmSha1_80 for Counting {
    fn create_cipher(&self, key: [u8; 16], encrypt: bool) -> Box<dyn Aes128CmSha1_80Cipher> {
        let inner = INNER.srtp_provider.aes_128_cm_sha1_80().create_cipher(key, encrypt);
        // What only closes goes out without a detour.
        if encrypt { inner } else { Box::new(Watched(inner)) }
    }
}

/// Nothing comes here before its signature was found right.
impl Aes128CmSha1_80Cipher for Watched<dyn Aes128CmSha1_80Cipher> {
    fn encrypt(&mut self, iv: &[u8; 16], input: &[u8], output: &mut [u8]) -> Result<(), CryptoError> {
        self.0.encrypt(iv, input, output)
    }

    fn decrypt(&mut self, iv: &[u8; 16], input: &[u8], output: &mut [u8]) -> Result<(), CryptoError> {
        self.0.decrypt(iv, input, output).inspect(|()| add())
    }
}

macro_rules! aead {
    ($supported:ident, $of:ident, $cipher:ident, $key:literal) => {
        impl $supported for Counting {
            fn create_cipher(&self, key: [u8; $key], encrypt: bool) -> Box<dyn $cipher> {
                let inner = INNER.srtp_provider.$of().create_cipher(key, encrypt);
                if encrypt { inner } else { Box::new(Watched(inner)) }
            }
        }

        impl $cipher for Watched<dyn $cipher> {
            fn encrypt(
                &mut self,
                iv: &[u8; 12],
                aad: &[u8],
                input: &[u8],
                output: &mut [u8],
            ) -> Result<(), CryptoError> {
                self.0.encrypt(iv, aad, input, output)
            }

            fn decrypt(
                &mut self,
                iv: &[u8; 12],
                aads: &[&[u8]],
                input: &[u8],
                output: &mut [u8],
            ) -> Result<usize, CryptoError> {
                self.0.decrypt(iv, aads, input, output).inspect(|_| add())
            }
        }
    };
}

aead!(SupportedAeadAes128Gcm, aead_aes_128_gcm, AeadAes128GcmCipher, 16);
aead!(SupportedAeadAes256Gcm, aead_aes_256_gcm, AeadAes256GcmCipher, 32);

impl DtlsProvider for Counting {
    fn generate_certificate(&self) -> Option<DtlsCert> {
        INNER.dtls_provider.generate_certificate()
    }

    fn new_dtls(
        &self,
        certificate: &DtlsCert,
        now: Instant,
        version: DtlsVersion,
        mtu: Option<usize>,
    ) -> Result<Box<dyn DtlsInstance>, CryptoError> {
        let session = handshake::session(certificate, now, version, mtu)?;
        Ok(Box::new(Watched(Box::new(session))))
    }

    fn is_test(&self) -> bool {
        INNER.dtls_provider.is_test()
    }
}

impl DtlsInstance for Watched<Dtls> {
    fn set_active(&mut self, active: bool) {
        self.0.set_active(active);
    }

    fn handle_packet(&mut self, packet: &[u8]) -> Result<(), DtlsImplError> {
        self.0.handle_packet(packet)
    }

    fn poll_output<'a>(&mut self, buffer: &'a mut [u8]) -> DtlsOutput<'a> {
        let output = self.0.poll_output(buffer);
        match &output {
            DtlsOutput::Connected | DtlsOutput::ApplicationData(_) => add(),
            DtlsOutput::KeyingMaterial(material, profile) => {
                let profile = match *profile {
                    SrtpProfile::AES128_CM_SHA1_80 => Some(Profile::Aes128CmSha1_80),
                    SrtpProfile::AEAD_AES_128_GCM => Some(Profile::AeadAes128Gcm),
                    SrtpProfile::AEAD_AES_256_GCM => Some(Profile::AeadAes256Gcm),
                    _ => None,
                };
                tracing::debug!(?profile, "DTLS chose how media is protected");
                KEYS.set(profile.and_then(|p| Keys::from_dtls(material, p, self.0.is_active())));
            }
            _ => {}
        }
        output
    }

    fn handle_timeout(&mut self, now: Instant) -> Result<(), DtlsImplError> {
        self.0.handle_timeout(now)
    }

    fn send_application_data(&mut self, data: &[u8]) -> Result<usize, DtlsImplError> {
        self.0.send_application_data(data)
    }

    fn is_active(&self) -> bool {
        self.0.is_active()
    }

    fn protocol_version(&self) -> Option<ProtocolVersion> {
        self.0.protocol_version()
    }

    fn is_closing(&self) -> bool {
        self.0.is_closing()
    }

    fn is_closed(&self) -> bool {
        self.0.is_closed()
    }

    fn close(&mut self) -> Result<(), DtlsImplError> {
        self.0.close()
    }
}
