"""Tests of placer; they mirror its modules."""
