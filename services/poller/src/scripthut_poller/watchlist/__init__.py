"""The poller's memory of runs and items: every query and write, each state change in one transaction with its event.

`items` is what is read, `recording` what every write shares; then one module for each room that asks:
`requests`, `submissions`, `cancellations`, `rounds`, `announcements`, `clusters`.
"""
