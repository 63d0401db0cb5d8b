"""The folders and buckets that archives go to, how they are opened, and the encryption on the way."""
