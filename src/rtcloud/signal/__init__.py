"""The open LiveKit signalling protocol, served: protobuf over WebSocket at /rtc/v1 and /rtc, and POST /v1/join."""
