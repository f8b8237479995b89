"""Compiled inner loops: functions on plain arrays, no objects of the library.

Importing a kernel imports numba (about half a second); only methods that need one do.
"""
