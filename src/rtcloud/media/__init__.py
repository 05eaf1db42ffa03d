"""The media engine as the control plane sees it: commands in, batches of events out."""
