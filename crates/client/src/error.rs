//! What can go wrong with a peer connection of a program.

/// Errors of this crate. Nothing that arrives from the network panics; it becomes one of these or is counted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PeerError {
    /// A track id of the caller's (`cid`) that is already in use.
    #[error("a track with cid {0} exists already")]
    DuplicateTrack(String),
    /// The combination of kind and codec is not one we packetise.
    #[error("codec {0} is not supported for this kind of track")]
    UnsupportedCodec(String),
    /// The connection has as many media sections as we allow.
    #[error("too many media sections")]
    TooManySections,
    /// The answer could not be used. Holds no part of the SDP.
    #[error("the answer was refused: {0}")]
    Answer(String),
    /// The engine inside failed; the connection is gone.
    #[error("the connection failed: {0}")]
    Engine(String),
    /// The shared thread cannot be started.
    #[error("cannot start the network thread: {0}")]
    Thread(#[from] std::io::Error),
    /// The queue of orders to the network thread is full.
    #[error("the order queue is full")]
    QueueFull,
}
