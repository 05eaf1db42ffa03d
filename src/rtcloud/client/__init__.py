"""Join a room from Python and exchange encoded media and messages. Every robot of the product uses this."""
