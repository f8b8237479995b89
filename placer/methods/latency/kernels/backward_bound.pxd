# What the compiler needs to know of backward_bound.py.

cimport cython

from placer.methods.latency.kernels.views cimport *
from placer.methods.latency.kernels.walk cimport *

@cython.locals(at=cython.longlong, end=cython.longlong, p=cython.longlong, u=cython.longlong,
    value=cython.double)
cdef void _lower_by_host(Bound b, long long after, long long r, double total) noexcept nogil

@cython.locals(e=cython.longlong, first=cython.longlong, i=cython.longlong, last=cython.longlong,
    total=cython.double, v=cython.longlong)
cdef double _run_on_host(Bound b, long long a, long long pool) noexcept nogil

@cython.locals(e=cython.longlong, last=cython.double, p=cython.longlong, total=cython.double, u=cython.longlong)
cdef void _host_step(Bound b, long long a, long long after, long long pool, long long r) noexcept nogil

@cython.locals(a=cython.longlong, after=cython.longlong, c=cython.longlong, o=cython.longlong,
    r=cython.longlong)
cdef void _host_steps(Bound b) noexcept nogil

@cython.locals(after=cython.longlong, c=cython.longlong, k=cython.longlong, p=cython.longlong,
    r=cython.longlong, time=cython.double)
cdef void _find_rest(Bound b, long long d) noexcept nogil

@cython.locals(c=cython.longlong)
cdef void _piece_step(Bound b, long long d) noexcept nogil

@cython.locals(alive=cython.bint, at=cython.longlong, down=cython.longlong, end=cython.longlong,
    p=cython.longlong, r=cython.longlong, read=cython.bint, u=cython.longlong, useful=cython.bint,
    value=cython.double)
cdef void _lower_by_piece(Bound b, long long after, long long c, double limit) noexcept nogil

@cython.locals(after=cython.longlong, k=cython.longlong, limit=cython.double, possible=cython.bint,
    r=cython.longlong, room=cython.double, so_far=cython.double, total=cython.double)
cdef bint _grow(Bound b, long long d) noexcept nogil

@cython.locals(a=cython.longlong, after=cython.longlong, c=cython.longlong, down=cython.longlong,
    end=cython.longlong, first=cython.longlong, k=cython.longlong, least=cython.double,
    memory=cython.double, p=cython.longlong, r=cython.longlong, send=cython.double, total=cython.double)
cdef void _note_grown(Bound b) noexcept nogil

@cython.locals(p=cython.longlong, r=cython.longlong)
cdef void _take_all_read(Bound b) noexcept nogil

@cython.locals(p=cython.longlong, r=cython.longlong)
cdef void _set(Bound b, double value) noexcept nogil

@cython.locals(end=cython.longlong, first=cython.longlong, last=cython.double, p=cython.longlong,
    r=cython.longlong)
cdef void _close(Bound b) noexcept nogil

@cython.locals(d=cython.longlong, r=cython.longlong, seen=cython.longlong)
cdef long long _all_steps(Bound b, long long[::1] control) noexcept nogil

@cython.locals(seen=cython.longlong)
cdef long long _all_states(Bound b, long long[::1] control) noexcept nogil

@cython.locals(seen=cython.longlong)
cpdef long long backward_bound(Bound b, long long[::1] control)
