"""Layered flow: devices hold ranges of layers, tokens flow from range to range; searches, bounds and checks.

What is served, and how a flow is made of it, is in `placer.serving`; programs are in `formulations.serving`.
"""
