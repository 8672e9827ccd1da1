"""Projections that answer queries: runs and events by job and by run."""
