"""Fetching the listings, planning polls, and finding the entry of a POST."""
