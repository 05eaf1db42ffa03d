"""rtcloud: a self-hosted real-time communication cloud."""

__version__ = "0.1.0"
