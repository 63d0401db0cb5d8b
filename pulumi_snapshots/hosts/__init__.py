"""Other hosts than the API: the one that serves snapshots, and a user's monitor. The API key never goes there."""
