"""Measurements against the limit of what is measured: ratios in one run, never a verdict.

`python -m tests.bench [NAME…]` prints one table; each module here has `measure()`, which gives its rows.
"""
