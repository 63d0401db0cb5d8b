"""Typed async client of the service: transport, models, errors, pacing. Knows nothing of Pulumi."""
