"""Results for people and programs, from records only. Builds text and models; only the command line prints."""
