"""Memory of what happened: events of users and quality samples, packed, bounded, deleted after some days."""
