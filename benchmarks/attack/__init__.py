"""How violations are found, one version of the code beside another."""
