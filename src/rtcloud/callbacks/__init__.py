"""Callbacks: what happened, told to the application's own server; signed, in order per room, retried, never lost."""
