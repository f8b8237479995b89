# What the compiler needs to know of matching.py.

cimport cython

from placer.methods.latency.kernels.views cimport *

cdef void match_lists(Step step, LatticeView lattice, long long old, long long new) noexcept nogil

@cython.locals(at=cython.longlong, end=cython.longlong, first=cython.longlong, p=cython.longlong,
    u=cython.longlong)
cdef void _match_live(Step step, LatticeView lattice, long long old, long long new) noexcept nogil

@cython.locals(at=cython.longlong, end=cython.longlong, first=cython.longlong, found=cython.bint,
    g=cython.longlong, p=cython.longlong)
cdef void _match_open(Step step, LatticeView lattice, long long old, long long new) noexcept nogil
