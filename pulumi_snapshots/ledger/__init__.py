"""What runs must know of each other, in one document: attempts and pacing."""
