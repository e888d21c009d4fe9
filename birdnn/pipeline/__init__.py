"""The main path: from files to answers and back to files. The only place that sees every stage."""
