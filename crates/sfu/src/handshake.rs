//! How DTLS sessions begin.
//!
//! The library's own way waits a second before it repeats anything, and repeats it four times: a network that loses much
//! makes people wait, and one call in twenty-five never begins where it loses a third. RFC 9147, 5.8.2 lets those repeat
//! sooner who know that the path is short; browsers begin at 50 ms. What nobody answers cannot be used against others:
//! [`Path`](crate::path::Path) bounds what is sent to an address by what came from it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use dimpl::{Config, Dtls, DtlsCertificate};
use str0m::config::DtlsCert;
use str0m::crypto::CryptoError;
use str0m::crypto::dtls::DtlsVersion;

/// After that a flight is repeated for the first time; then after twice as long, and so on.
const FIRST_REPEAT: Duration = Duration::from_millis(250);
/// How often at most, also because the other side repeats itself.
const REPEATS: usize = 12;

/// A session that did not begin. `mtu` is in bytes, of a datagram without UDP and IP.
pub(crate) fn session(
    certificate: &DtlsCert,
    now: Instant,
    version: DtlsVersion,
    mtu: Option<usize>,
) -> Result<Dtls, CryptoError> {
    let mut config =
        Config::builder().use_server_cookie(false).flight_start_rto(FIRST_REPEAT).flight_retries(REPEATS);
    if let Some(mtu) = mtu {
        config = config.mtu(mtu);
    }
    let config = Arc::new(config.build().map_err(|e| CryptoError::Other(format!("DTLS: {e}")))?);
    let certificate = DtlsCertificate {
        certificate: certificate.certificate.clone(),
        private_key: certificate.private_key.clone(),
    };
    match version {
        DtlsVersion::Dtls12 => Ok(Dtls::new_12(config, certificate, now)),
        DtlsVersion::Dtls13 => Ok(Dtls::new_13(config, certificate, now)),
        DtlsVersion::Auto => Ok(Dtls::new_auto(config, certificate, now)),
        other => Err(CryptoError::Other(format!("DTLS: {other} is not known"))),
    }
}

#[cfg(test)]
mod tests {
    use str0m::crypto::dtls::DtlsOutput;

    use super::*;
    use crate::proof;

    #[test]
    fn a_flight_that_nobody_answers_is_repeated_soon_and_often() {
        let provider = proof::crypto();
        let certificate = provider.dtls_provider.generate_certificate().unwrap();
        let begun = Instant::now();
        let mut session =
            provider.dtls_provider.new_dtls(&certificate, begun, DtlsVersion::Dtls12, None).unwrap();
        session.set_active(true);
        let (mut now, mut sent) = (begun, Vec::new());
        while session.handle_timeout(now).is_ok() && now < begun + Duration::from_secs(39) {
            let mut buffer = [0; 2048];
            loop {
                match session.poll_output(&mut buffer) {
                    DtlsOutput::Packet(_) => sent.push(now - begun),
                    DtlsOutput::Timeout(at) => {
                        now = at.max(now + Duration::from_millis(1));
                        break;
                    }
                    _ => {}
                }
            }
        }
        assert!((Duration::from_millis(150)..Duration::from_millis(350)).contains(&sent[1]), "{sent:?}");
        assert!(sent.len() >= 7, "{sent:?}");
    }
}
