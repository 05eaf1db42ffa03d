"""Relaying a room: its streams, mixed or single, pushed to CDNs and fed back into rooms."""
