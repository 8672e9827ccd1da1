"""The trace of a run: a projection of its events, and its delivery to a backend (design section 5)."""
