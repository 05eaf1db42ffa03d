"""Pictures that requests name: fetched once, checked, and kept as files that jobs read."""
