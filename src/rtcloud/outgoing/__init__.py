"""Requests that we make because somebody asked us to: which addresses they may reach, and connections held to that."""
