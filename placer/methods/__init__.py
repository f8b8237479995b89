"""The algorithms, a folder each with its kernels, and their registry; no files, no command line."""
