"""What both ways to a Pulumi engine need."""
