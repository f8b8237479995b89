# What the compiler needs to know of pieces.py.

cimport cython
from libc.math cimport floor

from placer.methods.downsets.kernels.views cimport *

@cython.locals(last=cython.longlong, p=cython.longlong)
cdef void set_available(SpaceView space, Control ctl, long long v, bint wanted) noexcept nogil

@cython.locals(b=cython.longlong, diff=cython.ulonglong, i=cython.longlong, inside=cython.bint,
    k=cython.longlong, n=cython.longlong, new=cython.ulonglong, step=cython.longlong, v=cython.longlong,
    w=cython.longlong, x=cython.longlong)
cdef void load_state(GraphView g, SpaceView space, Control ctl, long long s) noexcept nogil

@cython.locals(stage=cython.longlong)
cdef void set_flights(GraphView g, SpaceView space, long long s) noexcept nogil

cdef double size(GraphView g, SpaceView space, long long t, long long v) noexcept nogil

@cython.locals(d=cython.longlong, i=cython.longlong, o=cython.longlong, p=cython.longlong,
    total=cython.double, v=cython.longlong)
cdef double received(GraphView g, SpaceView space, Control ctl, long long extra) noexcept nogil

@cython.locals(count=cython.longlong)
cdef long long left_of(GraphView g, SpaceView space, long long s, long long i, long long t) noexcept nogil

@cython.locals(known=cython.bint, lane=cython.longlong, producer=cython.longlong, slot=cython.longlong)
cdef long long net_slot(GraphView g, SpaceView space, long long e, long long taken,
    long long outside) noexcept nogil

@cython.locals(e=cython.longlong, i=cython.longlong, slot=cython.longlong)
cdef void book(GraphView g, SpaceView space, long long t, long long v, double sign) noexcept nogil

cdef double direction_load(GraphView g, double compute, double first, double second) noexcept nogil

@cython.locals(first=cython.double, second=cython.double)
cdef double load(GraphView g, SpaceView space, long long d, bint with_open) noexcept nogil

cdef bint within(GraphView g, SpaceView space, long long s, double forward, double backward,
    double target) noexcept nogil

@cython.locals(i=cython.longlong, left=cython.longlong, limit=cython.double, total=cython.double)
cdef double capacity(GraphView g, MeasuresView m, SpaceView space, long long k, long long s, long long t,
    double forward, double backward, double target) noexcept nogil

cpdef double whole(double limit, double unit) noexcept nogil

@cython.locals(K=cython.longlong, e=cython.longlong, i=cython.longlong, inside=cython.longlong,
    k=cython.longlong, x=cython.longlong)
cdef void take(GraphView g, MeasuresView m, SpaceView space, Control ctl, long long t,
    long long v) noexcept nogil

@cython.locals(i=cython.longlong)
cdef void untake(GraphView g, SpaceView space, long long t, long long v) noexcept nogil

@cython.locals(K=cython.longlong, at=cython.longlong, begin=cython.longlong, i=cython.longlong,
    k=cython.longlong, short=cython.bint, x=cython.longlong, y=cython.longlong)
cdef bint exclude(GraphView g, MeasuresView m, SpaceView space, Control ctl, long long t,
    long long v) noexcept nogil

@cython.locals(i=cython.longlong, x=cython.longlong)
cdef void unexclude(GraphView g, SpaceView space, Control ctl, long long begin) noexcept nogil

