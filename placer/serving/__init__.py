"""Serving a model of many layers on unequal devices: questions, searches, checks, and layered flow.

Models to serve, problems and plans are data of their own, apart from graphs of operators; programs are in
`formulations.serving`, and the command line is in `placer.cli`.
"""
