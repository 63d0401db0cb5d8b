"""Pulumi dynamic provider and its resources: translation between Pulumi and what each thing can do."""
