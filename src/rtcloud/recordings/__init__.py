"""Offline work on recorded files: what a directory holds, merging single streams, verifying. It needs no server."""
