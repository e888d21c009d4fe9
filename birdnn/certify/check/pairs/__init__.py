"""Statements that relate two networks: `query` (VNN-LIB 2.0), `chain`, `lines`, `walk`, `floats`, `exact`,
`engines`."""
