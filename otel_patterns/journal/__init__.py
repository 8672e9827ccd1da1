"""The journal: the append-only canonical JSONL log, and how it is written, read and followed (design section 7)."""
