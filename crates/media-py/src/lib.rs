//! `rtcloud._native`: the Rust half of the package, described by `src/rtcloud/_native.pyi`.
//!
//! One typed configuration in, events in batches out; the GIL is released wherever something may wait and no packet
//! ever reaches Python.

mod node;
mod peer;

use pyo3::prelude::*;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[pymodule]
fn _native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    node::register(module)?;
    peer::register(module)
}
