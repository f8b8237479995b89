# What the compiler needs to know of annealing.py.

cimport cython
from libc.math cimport exp

from placer.methods.local_search.kernels.moves cimport _first_place, _last_place
from placer.methods.local_search.kernels.twister cimport *
from placer.methods.local_search.kernels.views cimport *

cdef double MEMORY_PENALTY, ROUNDING, NEAR, SINGLE, EXCHANGE
cdef long long NOTED


cdef class Course:
    cdef Twister twister
    cdef double forward, backward, both
    cdef long long largest
    cdef long long[::1] best, cluster


@cython.locals(compute=cython.double, receive=cython.double, send=cython.double)
cdef double _load(StaticView static, StateView state, long long way, long long d) noexcept nogil

@cython.locals(bw=cython.double, fw=cython.double, out=cython.double, over=cython.double)
cdef double _energy(StaticView static, StateView state, Course course, long long d) noexcept nogil

cdef void _book(StateView state, bint sends, long long way, long long d, double cost) noexcept nogil

@cython.locals(a=cython.longlong, at_home=cython.bint, c=cython.longlong, cost=cython.double,
    e=cython.longlong, first=cython.longlong, held=cython.longlong, k=cython.longlong, way=cython.longlong)
cdef void _leave(StaticView static, StateView state, long long i) noexcept nogil

@cython.locals(at_home=cython.bint, c=cython.longlong, cost=cython.double, e=cython.longlong,
    first=cython.longlong, held=cython.longlong, k=cython.longlong, way=cython.longlong)
cdef void _enter(StaticView static, StateView state, long long i, long long b) noexcept nogil

@cython.locals(begin=cython.longlong, e=cython.longlong, first=cython.longlong, last=cython.longlong)
cdef long long _neighbour(StaticView static, Twister twister, long long i) noexcept nogil

@cython.locals(a=cython.longlong, end=cython.longlong, fresh=cython.bint, j=cython.longlong,
    k=cython.longlong, size=cython.longlong)
cdef long long _grow(StaticView static, StateView state, Course course, long long seed, long long b,
    long long begin) noexcept nogil

@cython.locals(a=cython.longlong, at=cython.longlong, first=cython.longlong, goal=cython.longlong,
    i=cython.longlong, j=cython.longlong, k=cython.longlong, last=cython.longlong, later=cython.bint,
    listed=cython.bint, m=cython.longlong, n=cython.longlong)
cdef long long _close(StaticView static, StateView state, Course course, long long begin, long long end,
    long long b) noexcept nogil

@cython.locals(k=cython.longlong, step=cython.longlong)
cdef void _shift(StaticView static, StateView state, Course course, long long first, long long last,
    long long b) noexcept nogil

@cython.locals(at=cython.longlong, i=cython.longlong, k=cython.longlong)
cdef bint _in_order(StaticView static, StateView state, Course course, long long end) noexcept nogil

@cython.locals(i=cython.longlong)
cdef void _note(StateView state, Course course) noexcept nogil

@cython.locals(D=cython.longlong, N=cython.longlong, a=cython.longlong, b=cython.longlong,
    before=cython.double, change=cython.double, end=cython.longlong, i=cython.longlong, j=cython.longlong,
    middle=cython.longlong, wanted=cython.bint)
cdef double _try(StaticView static, StateView state, Course course, double temperature) noexcept nogil

@cython.locals(cooling=cython.double, d=cython.longlong, energy=cython.double, k=cython.longlong,
    least=cython.double, noted=cython.longlong, pause=cython.longlong, temperature=cython.double)
cdef double _anneal(StaticView static, StateView state, Course course, long long moves, double hot,
    double cold) noexcept nogil

@cython.locals(least=cython.double)
cpdef double anneal(StaticView static, StateView state, Course course, long long moves, double hot,
    double cold) noexcept
