"""Commands that copy snapshots to your own storage, and list, forget and open the copies."""
