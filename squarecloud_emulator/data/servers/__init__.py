"""Real database servers, which a database of the emulator can have its data in."""
