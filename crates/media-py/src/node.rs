//! The Python class of a media node.

use std::sync::{PoisonError, RwLock};

use pyo3::exceptions::{PyOSError, PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use rtcloud_node::{
    InRoom, Node as MediaNode, NodeConfig, Overload, ProtocolError, StartError, decode, encode,
};

/// Adds the classes of this file to the module.
pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<Node>()?;
    module.add_function(wrap_pyfunction!(protocol_samples, module)?)
}

fn invalid(error: &ProtocolError) -> PyErr {
    PyValueError::new_err(error.to_string())
}

/// A running media node: shard threads and sockets.
#[pyclass(module = "rtcloud._native", frozen)]
struct Node {
    /// None once closed.
    node: RwLock<Option<MediaNode>>,
}

impl Node {
    fn with<T>(&self, act: impl FnOnce(&MediaNode) -> PyResult<T>) -> PyResult<T> {
        match self.node.read().unwrap_or_else(PoisonError::into_inner).as_ref() {
            Some(node) => act(node),
            None => Err(PyRuntimeError::new_err("the node is closed")),
        }
    }
}

#[pymethods]
impl Node {
    #[new]
    fn new(py: Python<'_>, config: &[u8]) -> PyResult<Self> {
        let config: NodeConfig = decode(config).map_err(|e| invalid(&e))?;
        rtcloud_node::collect_logs();
        let node = py.detach(|| MediaNode::start(&config)).map_err(|error| match error {
            StartError::Io(error) => match error.raw_os_error() {
                Some(code) => PyOSError::new_err((code, error.to_string())),
                None => PyOSError::new_err(error.to_string()),
            },
            error => PyValueError::new_err(error.to_string()),
        })?;
        Ok(Self { node: RwLock::new(Some(node)) })
    }

    fn event_fd(&self) -> PyResult<i32> {
        self.with(|node| Ok(node.event_fd()))
    }

    fn send(&self, commands: &[u8]) -> PyResult<bool> {
        let commands: Vec<InRoom<_>> = decode(commands).map_err(|e| invalid(&e))?;
        self.with(|node| Ok(node.send(commands)))
    }

    fn drain<'py>(&self, py: Python<'py>, max: usize) -> PyResult<Bound<'py, PyBytes>> {
        self.with(|node| {
            let events = encode(&node.drain(max)).map_err(|e| invalid(&e))?;
            Ok(PyBytes::new(py, &events))
        })
    }

    fn drain_logs(&self, max: usize) -> Vec<rtcloud_node::Record> {
        rtcloud_node::drain_logs(max)
    }

    /// Why nobody else may enter a room: `cpu`, `bandwidth`, or nothing.
    fn overload(&self, room: &str) -> PyResult<&'static str> {
        self.with(|node| {
            Ok(match node.overload(&room.into()) {
                Some(Overload::Cpu) => "cpu",
                Some(Overload::Bandwidth) => "bandwidth",
                None => "",
            })
        })
    }

    fn status<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        self.with(|node| {
            let status = encode(&node.status()).map_err(|e| invalid(&e))?;
            Ok(PyBytes::new(py, &status))
        })
    }

    fn close(&self, py: Python<'_>) {
        let node = self.node.write().unwrap_or_else(PoisonError::into_inner).take();
        py.detach(|| drop(node));
    }
}

/// One of each event and each command, for the contract test.
#[pyfunction]
fn protocol_samples(py: Python<'_>) -> PyResult<Bound<'_, PyBytes>> {
    let samples = encode(&rtcloud_node::samples()).map_err(|e| invalid(&e))?;
    Ok(PyBytes::new(py, &samples))
}
