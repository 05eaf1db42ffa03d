"""Streams that are pulled from URLs into rooms: one job process each, of the kind "ingest".

``opening`` makes a ``Source`` of a URL; ``playing`` decides when one is opened again and which round of it plays;
``timeline`` puts what comes on one timeline without jumps; ``pacing`` says when each packet is due; ``job`` does it.
"""
