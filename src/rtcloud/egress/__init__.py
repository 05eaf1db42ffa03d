"""Media that leaves the cloud: recordings."""
