"""Objectives other than time as a row of questions: whether a plan within some limits is fast enough."""
