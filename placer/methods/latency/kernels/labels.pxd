# What the compiler needs to know of labels.py.

cimport cython

from placer.methods.latency.kernels.views cimport *

@cython.locals(s=cython.longlong)
cdef long long _position(LabelsView labels, long long row, long long name) noexcept nogil

@cython.locals(g=cython.longlong, p=cython.longlong, s=cython.longlong)
cdef bint dominates(LabelsView labels, LatticeView lattice, SlotsView slots, long long state, long long a,
    long long b) noexcept nogil

cdef void _release(LabelsView labels, long long row) noexcept nogil

@cython.locals(row=cython.longlong)
cdef long long _take(LabelsView labels) noexcept nogil

@cython.locals(g=cython.longlong, p=cython.longlong, s=cython.longlong)
cdef void _copy(LabelsView labels, LatticeView lattice, long long state, long long row) noexcept nogil

cdef void _give_up(LabelsView labels, double bound) noexcept nogil

@cython.locals(s=cython.longlong, total=cython.longlong)
cdef long long _rank(LabelsView labels, long long row) noexcept nogil

@cython.locals(before=cython.longlong, before_worst=cython.longlong, count=cython.longlong,
    rank=cython.longlong, row=cython.longlong, worst=cython.longlong)
cdef void _thin_out(LabelsView labels, long long state, long long beam) noexcept nogil

cdef void _unlink(LabelsView labels, long long state, long long before, long long row) noexcept nogil

@cython.locals(after=cython.longlong, before=cython.longlong, bound=cython.double, row=cython.longlong)
cpdef void insert(LabelsView labels, LatticeView lattice, SlotsView slots, long long state,
    long long beam) noexcept nogil

@cython.locals(compared=cython.longlong)
cdef long long take_comparisons(LabelsView labels) noexcept nogil
