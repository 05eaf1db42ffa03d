//! The Python class of a participant's peer connection.
//!
//! A thin skin: every call returns at once and nothing here waits, so the GIL is kept.

use std::collections::HashMap;
use std::os::fd::AsRawFd;

use pyo3::exceptions::{PyOSError, PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use rtcloud_client::{Order, PeerConfig, PeerError};

/// One encoded frame received.
#[pyclass(frozen, module = "rtcloud._native")]
struct Frame {
    inner: rtcloud_client::Frame,
}

#[pymethods]
impl Frame {
    #[getter]
    fn track(&self) -> &str {
        &self.inner.track
    }

    #[getter]
    fn data<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.inner.data)
    }

    #[getter]
    fn rtp_time(&self) -> u32 {
        self.inner.rtp_time
    }

    #[getter]
    fn capture_us(&self) -> Option<u64> {
        self.inner.capture_us
    }

    #[getter]
    fn arrival_us(&self) -> u64 {
        self.inner.arrival_us
    }

    #[getter]
    fn keyframe(&self) -> bool {
        self.inner.keyframe
    }

    #[getter]
    fn contiguous(&self) -> bool {
        self.inner.contiguous
    }
}

/// A peer connection; its socket and timers live in a thread shared by all peers of the process.
#[pyclass(frozen, module = "rtcloud._native")]
struct Peer {
    inner: rtcloud_client::Peer,
}

#[pymethods]
impl Peer {
    #[new]
    fn new(config: &[u8]) -> PyResult<Self> {
        let config: PeerConfig =
            rmp_serde::from_slice(config).map_err(|error| PyValueError::new_err(error.to_string()))?;
        Ok(Self { inner: rtcloud_client::Peer::new(&config).map_err(raise)? })
    }

    fn event_fd(&self) -> i32 {
        self.inner.event_fd().as_raw_fd()
    }

    fn add_track(&self, cid: String, stream: String, kind: &str, codec: &str) -> PyResult<()> {
        self.inner.add_track(cid, stream, kind, codec).map_err(raise)
    }

    fn remove_track(&self, cid: String) -> PyResult<()> {
        self.order(Order::RemoveTrack { cid })
    }

    fn require_sections(&self, audio: u32, video: u32) -> PyResult<()> {
        self.order(Order::RequireSections { audio, video })
    }

    fn create_offer(&self, restart_ice: bool) -> PyResult<()> {
        self.order(Order::CreateOffer { restart_ice })
    }

    fn accept_answer(
        &self,
        request: u32,
        sdp: String,
        mid_to_track: HashMap<String, String>,
    ) -> PyResult<()> {
        let mid_to_track = mid_to_track.into_iter().collect();
        self.order(Order::AcceptAnswer { request, sdp, mid_to_track })
    }

    fn write_frame(&self, cid: &str, data: &[u8], capture_us: u64) -> bool {
        self.inner.write_frame(cid, data, capture_us)
    }

    fn send_data(&self, packet: &[u8], reliable: bool) -> bool {
        self.inner.send_data(packet, reliable)
    }

    fn request_keyframe(&self, track: String) -> PyResult<()> {
        self.order(Order::RequestKeyframe { track })
    }

    fn drain_events<'py>(&self, py: Python<'py>, max: usize) -> PyResult<Bound<'py, PyBytes>> {
        pack(py, &self.inner.drain_events(max))
    }

    fn drain_frames(&self, max: usize) -> Vec<Frame> {
        self.inner.drain_frames(max).into_iter().map(|inner| Frame { inner }).collect()
    }

    fn stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        pack(py, &self.inner.stats())
    }

    fn close(&self) {
        self.inner.close();
    }
}

impl Peer {
    fn order(&self, order: Order) -> PyResult<()> {
        self.inner.order(order).map_err(raise)
    }
}

/// An access unit for load tests whose packets carry the time they were sent.
#[pyfunction]
fn probe_access_unit<'py>(
    py: Python<'py>,
    packets: usize,
    size: usize,
    keyframe: bool,
    unix_us: u64,
) -> Bound<'py, PyBytes> {
    PyBytes::new(
        py,
        &rtcloud_client::probe::access_unit(packets.min(1000), size.min(1400), keyframe, unix_us),
    )
}

/// An Opus packet for load tests that carries the time it was sent.
#[pyfunction]
fn probe_opus_packet(py: Python<'_>, size: usize, unix_us: u64) -> Bound<'_, PyBytes> {
    PyBytes::new(py, &rtcloud_client::probe::opus_packet(size.min(1400), unix_us))
}

fn pack<'py, T: serde::Serialize>(py: Python<'py>, value: &T) -> PyResult<Bound<'py, PyBytes>> {
    let bytes = rmp_serde::to_vec_named(value).map_err(|error| PyRuntimeError::new_err(error.to_string()))?;
    Ok(PyBytes::new(py, &bytes))
}

fn raise(error: PeerError) -> PyErr {
    match error {
        PeerError::DuplicateTrack(_) | PeerError::UnsupportedCodec(_) | PeerError::TooManySections => {
            PyValueError::new_err(error.to_string())
        }
        PeerError::Thread(error) => PyOSError::new_err(error.to_string()),
        _ => PyRuntimeError::new_err(error.to_string()),
    }
}

/// Adds the classes of this file to the module.
pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<Frame>()?;
    module.add_class::<Peer>()?;
    module.add_function(wrap_pyfunction!(probe_access_unit, module)?)?;
    module.add_function(wrap_pyfunction!(probe_opus_packet, module)?)
}
