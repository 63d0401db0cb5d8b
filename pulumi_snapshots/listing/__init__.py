"""Fetching the listings, planning polls, and finding which entry is ours."""
