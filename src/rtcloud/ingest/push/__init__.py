"""RTMP clients that push into a room: from the listening socket to the job that publishes what comes."""
