"""The released set: the 45 public ACAS Xu networks, repaired where they violate a property that applies to them."""
