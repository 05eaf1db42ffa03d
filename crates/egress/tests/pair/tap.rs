//! A crypto provider that shows the keys that DTLS exports, and says which protection they are for.
//!
//! Two str0m peers always agree on the same profile. The others are tried by cutting what was exported, at both ends.

use std::cell::{Cell, RefCell};
use std::sync::{Arc, LazyLock};
use std::time::Instant;

use rtcloud_egress::Profile;
use str0m::config::DtlsCert;
use str0m::crypto::dtls::{
    DtlsImplError, DtlsInstance, DtlsOutput, DtlsProvider, DtlsVersion, KeyingMaterial, ProtocolVersion,
    SrtpProfile,
};
use str0m::crypto::{CryptoError, CryptoProvider};

type Exported = (Vec<u8>, Profile, bool);

thread_local! {
    static CHOSEN: Cell<Profile> = const { Cell::new(Profile::AeadAes128Gcm) };
    static EXPORTED: RefCell<Option<Exported>> = const { RefCell::new(None) };
}

static INNER: LazyLock<CryptoProvider> = LazyLock::new(str0m::crypto::from_feature_flags);

/// The protection of everything that this thread connects from now on.
pub(crate) fn choose(profile: Profile) {
    CHOSEN.set(profile);
}

/// For the one whose keys are shown, and for the other.
pub(crate) fn provider(shown: bool) -> Arc<CryptoProvider> {
    let mut provider = INNER.clone();
    provider.dtls_provider = if shown { &Tap { shown: true } } else { &Tap { shown: false } };
    Arc::new(provider)
}

pub(crate) fn take() -> Option<Exported> {
    EXPORTED.take()
}

#[derive(Debug)]
struct Tap {
    shown: bool,
}

impl DtlsProvider for Tap {
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
        let inner = INNER.dtls_provider.new_dtls(certificate, now, version, mtu)?;
        Ok(Box::new(Tapped(inner, self.shown)))
    }

    fn is_test(&self) -> bool {
        INNER.dtls_provider.is_test()
    }
}

#[derive(Debug)]
struct Tapped(Box<dyn DtlsInstance>, bool);

impl DtlsInstance for Tapped {
    fn set_active(&mut self, active: bool) {
        self.0.set_active(active);
    }

    fn handle_packet(&mut self, packet: &[u8]) -> Result<(), DtlsImplError> {
        self.0.handle_packet(packet)
    }

    fn poll_output<'a>(&mut self, buffer: &'a mut [u8]) -> DtlsOutput<'a> {
        let active = self.0.is_active();
        let output = self.0.poll_output(buffer);
        let DtlsOutput::KeyingMaterial(material, _) = &output else { return output };
        let (len, profile) = match CHOSEN.get() {
            Profile::Aes128CmSha1_80 => (60, SrtpProfile::AES128_CM_SHA1_80),
            Profile::AeadAes128Gcm => (56, SrtpProfile::AEAD_AES_128_GCM),
            Profile::AeadAes256Gcm => (88, SrtpProfile::AEAD_AES_256_GCM),
        };
        let material = &material[..len];
        if self.1 {
            EXPORTED.set(Some((material.to_vec(), CHOSEN.get(), active)));
        }
        DtlsOutput::KeyingMaterial(KeyingMaterial::new(material), profile)
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
