"""Serving a model of many layers on unequal devices: layered flow, its bounds, starts, search and check.

A problem and its plans are data of their own, apart from graphs of operators; programs are in
`formulations.serving`, and the command line is in `placer.cli`.
"""
