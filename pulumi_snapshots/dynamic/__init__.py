"""Pulumi dynamic provider and its resources: translation between Pulumi and `operations`."""
