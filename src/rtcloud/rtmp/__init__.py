"""RTMP without sockets: handshake, chunks, AMF0 and the publisher's conversation. A server shares all but the last.

Bytes go in, bytes and typed events come out; whatever a peer sends is bounded and answered with ``RtmpError`` when it
is no RTMP.
"""
