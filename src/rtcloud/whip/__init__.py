"""WHIP and WHEP: one HTTP request brings a WebRTC publisher into a room (RFC 9725), or a viewer."""
