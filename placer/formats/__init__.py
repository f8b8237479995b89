"""Readers and writers of instance and result files."""
