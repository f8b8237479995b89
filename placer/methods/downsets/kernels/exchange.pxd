# What the compiler needs to know of exchange.py.

cimport cython

from placer.methods.downsets.kernels.views cimport *
from placer.methods.downsets.kernels.pieces cimport *

cdef bint has_device(GraphView g, SpaceView space, long long s, long long t) noexcept nogil

@cython.locals(i=cython.longlong)
cdef bint in_order(GraphView g, SpaceView space, long long s, long long t) noexcept nogil

@cython.locals(K=cython.longlong, at=cython.longlong, far=cython.double, filled=cython.longlong,
    i=cython.longlong, k=cython.longlong, stamp=cython.longlong, v=cython.longlong, x=cython.longlong)
cdef void mark_zone(GraphView g, MeasuresView m, SpaceView space, Control ctl, long long t,
    double target) noexcept nogil

@cython.locals(e=cython.longlong, i=cython.longlong, left=cython.double, taken=cython.double)
cdef double optional_cost(GraphView g, SpaceView space, long long t, long long x) noexcept nogil

@cython.locals(K=cython.longlong, backward=cython.double, e=cython.longlong, forward=cython.double,
    i=cython.longlong, k=cython.longlong, lane=cython.longlong, room=cython.double, v=cython.longlong,
    x=cython.longlong)
cdef bint finishes(GraphView g, MeasuresView m, SpaceView space, long long s, long long t,
    double target) noexcept nogil

@cython.locals(backward=cython.double, e=cython.longlong, forward=cython.double, i=cython.longlong,
    inside=cython.longlong, j=cython.longlong, lane=cython.longlong, mine=cython.bint, worse=cython.bint)
cdef bint harmless(GraphView g, SpaceView space, long long s, long long t, long long v) noexcept nogil

@cython.locals(e=cython.longlong, i=cython.longlong, place=cython.longlong, taken=cython.bint)
cdef void _add_transfers(GraphView g, SpaceView space, long long t, long long v) noexcept nogil

@cython.locals(i=cython.longlong)
cdef void _clear(SpaceView space) noexcept nogil

@cython.locals(backward=cython.double, forward=cython.double, grows=cython.bint)
cdef bint costs_nothing(GraphView g, SpaceView space, long long s, long long t, long long v) noexcept nogil

@cython.locals(backward=cython.double, e=cython.longlong, forward=cython.double, i=cython.longlong,
    j=cython.longlong)
cdef bint holdable(GraphView g, SpaceView space, long long s, long long t, long long v,
    double target) noexcept nogil

@cython.locals(backward=cython.double, d=cython.longlong, forward=cython.double, lane=cython.longlong,
    memory=cython.double)
cdef bint fits(GraphView g, SpaceView space, Control ctl, long long s, long long t, long long v,
    double target) noexcept nogil

