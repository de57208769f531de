"""Key stores: the provider seam, providers, half-stores."""
