# What the compiler needs to know of open_pieces.py.

cimport cython

from placer.methods.latency.kernels.labels cimport *
from placer.methods.latency.kernels.views cimport *

@cython.locals(after=cython.longlong, cutoff=cython.double, k=cython.longlong, r=cython.longlong,
    so_far=cython.double)
cdef bint grows_too_late(Search search, long long d) noexcept nogil

@cython.locals(k=cython.longlong, live=cython.longlong, new=cython.longlong, p=cython.longlong,
    row=cython.longlong, s=cython.longlong, start=cython.double)
cdef void begin_pieces(Search search, long long d) noexcept nogil

@cython.locals(after=cython.longlong, at=cython.longlong, before=cython.longlong, bound=cython.double,
    k=cython.longlong, row=cython.longlong)
cdef void _offer_piece(Search search, long long state) noexcept nogil

cdef bint _as_good(Search search, long long at, double bound) noexcept nogil

cdef bint _is_worse(Search search, long long at) noexcept nogil

@cython.locals(s=cython.longlong)
cdef bint _has_as_much(Search search, long long a, long long b, double bound) noexcept nogil

@cython.locals(a=cython.longlong, after=cython.longlong, at=cython.longlong, c=cython.longlong,
    k=cython.longlong, seen=cython.longlong)
cdef long long end_pieces(Search search) noexcept nogil

@cython.locals(bound=cython.double, c=cython.longlong, finish=cython.double, first=cython.longlong,
    i=cython.longlong, k=cython.longlong, level=cython.longlong, live=cython.longlong,
    p=cython.longlong, rest=cython.double, row=cython.longlong, s=cython.longlong, state=cython.longlong)
cdef void _end_piece(Search search, long long at) noexcept nogil

@cython.locals(at=cython.longlong, state=cython.longlong)
cdef void give_up_pieces(Search search) noexcept nogil
