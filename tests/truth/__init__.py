"""The truth table: every way to end that the testbed can produce, what Slurm says of it and what we say.

`python -m tests.truth` prints it; `tests/e2e/test_truth_table.py` asserts it row by row.
"""
