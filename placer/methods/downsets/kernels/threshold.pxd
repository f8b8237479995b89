# What the compiler needs to know of threshold.py.

cimport cython

from placer.methods.downsets.kernels.views cimport *
from placer.methods.downsets.kernels.pieces cimport *
from placer.methods.downsets.kernels.exchange cimport *
from placer.methods.downsets.kernels.downset_keys cimport *

cdef int NEXT_STATE, NEXT_TYPE, FORWARD, BACKWARD, GIVE_UP
@cython.locals(taken=cython.longlong)
cdef long long _used(GraphView g, SpaceView space, Control ctl, long long i) noexcept nogil

cdef void _share(SpaceView space, Control ctl, long long x) noexcept nogil

@cython.locals(fewer=cython.bint, i=cython.longlong, more=cython.bint, used=cython.longlong,
    x=cython.longlong)
cdef bint _superfluous(GraphView g, SpaceView space, Control ctl, long long head, double forward,
    double backward) noexcept nogil

@cython.locals(K=cython.longlong, head=cython.longlong, i=cython.longlong, k=cython.longlong,
    new=cython.longlong, s=cython.longlong)
cdef bint _insert(GraphView g, MeasuresView m, SpaceView space, Control ctl, double forward, double backward,
    double rank) noexcept nogil

@cython.locals(K=cython.longlong, any_taken=cython.bint, backward=cython.double, d=cython.longlong,
    forward=cython.double, k=cython.longlong, left=cython.double, rank=cython.double, room=cython.double,
    s=cython.longlong, t=cython.longlong, v=cython.longlong)
cdef bint _emit(GraphView g, MeasuresView m, SpaceView space, Control ctl, double target) noexcept nogil

@cython.locals(K=cython.longlong, k=cython.longlong, room=cython.double, s=cython.longlong, t=cython.longlong)
cdef bint _needs(GraphView g, MeasuresView m, SpaceView space, Control ctl, double target) noexcept nogil

@cython.locals(d=cython.longlong, s=cython.longlong)
cdef bint _leave(GraphView g, MeasuresView m, SpaceView space, Control ctl, long long t, long long v,
    double target) noexcept nogil

@cython.locals(best=cython.longlong, i=cython.longlong)
cdef long long _choose(SpaceView space, Control ctl, long long depth) noexcept nogil

@cython.locals(i=cython.longlong)
cdef void _save(SpaceView space, long long d) noexcept nogil

@cython.locals(i=cython.longlong)
cdef void _restore(SpaceView space, long long d) noexcept nogil

@cython.locals(end=cython.longlong, why=cython.longlong)
cdef long long _expand(GraphView g, MeasuresView m, SpaceView space, Control ctl, double target,
    long long budget, long long piece_budget) noexcept nogil

@cython.locals(devices=cython.longlong, left=cython.longlong, s=cython.longlong, t=cython.longlong)
cdef long long _next_state(GraphView g, MeasuresView m, SpaceView space, Control ctl,
    double target) noexcept nogil

@cython.locals(i=cython.longlong)
cdef void _next_type(GraphView g, MeasuresView m, SpaceView space, Control ctl, double target) noexcept nogil

@cython.locals(d=cython.longlong, s=cython.longlong, t=cython.longlong, v=cython.longlong)
cdef bint _forward(GraphView g, MeasuresView m, SpaceView space, Control ctl, double target,
    long long piece_budget) noexcept nogil

@cython.locals(choice=cython.longlong, d=cython.longlong, other=cython.longlong, t=cython.longlong,
    v=cython.longlong)
cdef void _backward(GraphView g, MeasuresView m, SpaceView space, Control ctl, double target) noexcept nogil


@cython.locals(why=cython.longlong)
cpdef long long expand(GraphView g, MeasuresView m, SpaceView space, Control ctl, double target,
    long long budget, long long piece_budget)

@cython.locals(head=cython.longlong, s=cython.longlong)
cpdef void rehash(SpaceView space, long long states)
