"""A series of faults: kills, full disks, flipped bytes, hostile files; each is counted.

`make faults` runs all of it and prints a line for each part: what, how many, how many wrong.
`tests/test_faults.py` runs a part of it with every other test.
"""
