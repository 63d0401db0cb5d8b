"""Commands that copy snapshots to where they outlive the service, and that list, forget and open the copies."""
