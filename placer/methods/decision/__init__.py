"""Objectives other than time: by a program, or as questions whether a plan within limits is fast enough."""
