"""What jobs share that are users of a room: how a robot comes and goes, and how it publishes."""
