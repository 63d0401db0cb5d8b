"""Pulumi dynamic provider and its resources: translation between Pulumi and what each resource can do."""
