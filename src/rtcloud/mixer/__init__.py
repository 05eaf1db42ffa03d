"""Mixing many tracks into one picture and one sound, on one clock."""
