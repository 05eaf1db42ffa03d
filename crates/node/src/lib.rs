//! The media node.
