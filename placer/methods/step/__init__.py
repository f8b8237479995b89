"""Time of a step: pipelines built from the end over downsets; those with virtual stages by local search."""
