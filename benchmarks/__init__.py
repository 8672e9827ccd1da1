"""What the package costs, as ratios to what somebody would write or use instead. `python -m benchmarks` runs all.

Each ratio is the median over interleaved rounds of one process run, so that a busy machine slows both sides.
"""
