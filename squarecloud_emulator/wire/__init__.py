"""What the emulated service receives and sends over HTTP: routes, answers, downloads, faults on the wire."""
