"""Media into the cloud: what RTMP clients push and what URLs give, published in a room by a user of its own.

``media`` has the values that all parts share; ``pipeline`` makes of a source's packets what rooms take; ``push`` and
``pull`` are the two ways in. WHIP needs none of this: it is WebRTC already (``rtcloud.whip``).
"""
