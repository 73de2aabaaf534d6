"""What is kept how long: results that expire, uploads nobody uses, files nothing refers to. `sweep` has the rounds.

Every part may be done by many workers at once and be cut off anywhere; the next round goes on. docs/keeping.md is the
page on it.
"""
