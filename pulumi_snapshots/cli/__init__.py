"""The command line, `squarecloud-snapshots`.

It translates only; the rules are in the rooms below.
"""
