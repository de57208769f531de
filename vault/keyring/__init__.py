"""Keys as one thing: hierarchy, epochs, and a bounded cache."""
