"""What users read when something ends otherwise than they wanted."""
