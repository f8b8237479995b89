"""Moves of single items downhill."""
