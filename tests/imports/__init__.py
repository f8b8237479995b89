"""Tests of the imports of real models."""
