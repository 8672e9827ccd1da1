"""Tests with kills, full disks, stopped processes and dead collectors; each asserts that the fault happened."""
