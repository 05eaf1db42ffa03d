"""What developers run beside the server; nothing of it is needed in production."""
