"""The typed async client of the service: transport, models, errors, rate limits; without Pulumi."""
