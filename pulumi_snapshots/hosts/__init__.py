"""Other hosts than the API: the snapshot host, and a user's monitor. They never get the API key."""
