"""The typed async client of the service: transport, models, errors and rate limits. Knows nothing of Pulumi."""
