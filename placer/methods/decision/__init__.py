"""Objectives other than time as a row of questions: is there a plan that is fast enough within these limits?"""
