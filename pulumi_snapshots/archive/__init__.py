"""Archives: a snapshot's zip in storage of your own."""
