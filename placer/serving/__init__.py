"""Serving a model of many layers on unequal devices: costs, questions, searches, and checks of answers.

Models to serve and plans are data of their own, apart from graphs of operators; the command line is in
`placer.cli`, and layers that several devices share in `placer.layered_flow`.
"""
