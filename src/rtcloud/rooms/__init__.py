"""Rooms, participants, publications: who is where and may do what (pure), and the rows that record it."""
