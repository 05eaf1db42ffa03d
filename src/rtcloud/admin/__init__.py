"""What an operator may ask of a server: over its Unix socket while it runs, of the data directory when it does not."""
