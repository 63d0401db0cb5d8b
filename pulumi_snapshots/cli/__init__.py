"""The command line, `squarecloud-snapshots`.

It only translates; the rules are in the rooms below.
"""
