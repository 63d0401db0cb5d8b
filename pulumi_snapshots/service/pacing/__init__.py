"""How fast requests may follow each other: the limits of the service, and what keeps them."""
