"""What a resource does, as async functions: create, read, resume. Knows nothing of Pulumi."""
