"""Mathematical programs for device placement, as PuLP models; no solver, no files, no command line."""
