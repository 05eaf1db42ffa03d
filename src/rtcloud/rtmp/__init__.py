"""RTMP without sockets: handshake, chunks and AMF0, and the conversations of publisher, player and server.

Bytes go in, bytes and typed events come out; whatever a peer sends is bounded and answered with ``RtmpError`` when it
is no RTMP. ``conversation`` is what both ends do alike, ``connecting`` what both kinds of client do.
"""
