# What the compiler needs to know of slots.py.

cimport cython

from placer.methods.latency.kernels.views cimport *

@cython.locals(c=cython.longlong)
cdef void _swap(LabelsView labels, long long a, long long b) noexcept nogil

@cython.locals(c=cython.longlong)
cdef bint _before(LabelsView labels, long long a, long long b) noexcept nogil

@cython.locals(c=cython.longlong, earliest=cython.double, p=cython.longlong, s=cython.longlong,
    t=cython.longlong)
cdef void tidy(LabelsView labels, LatticeView lattice, SlotsView slots, long long new) noexcept nogil

@cython.locals(g=cython.longlong)
cdef bint awaited(LabelsView labels, LatticeView lattice, long long new, long long name) noexcept nogil

@cython.locals(g=cython.longlong, where=cython.longlong)
cdef bint same_as_previous(LabelsView labels, LatticeView lattice, SlotsView slots, long long state,
    long long row, long long s) noexcept nogil

