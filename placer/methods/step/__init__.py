"""Time of a step: pipelines built stage by stage from the end, over downsets; no program is solved here."""
