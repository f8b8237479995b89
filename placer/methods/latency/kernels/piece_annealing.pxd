# What the compiler needs to know of piece_annealing.py.

cimport cython
from libc.math cimport exp

from placer.methods.local_search.kernels.twister cimport *

cdef double INFINITY, ROUNDING, NEAR, ANYWHERE


cdef class Sample:
    cdef public long long[::1] read_start, read, reader_start, reader, node_start, node, item, device, cls, follows
    cdef public double[:, ::1] time, transfer
    cdef public unsigned char[:, ::1] allowed
    cdef public double[::1] memory, limit
    cdef double[::1] start, work, used
    cdef long long[::1] place, unit, queue, chain, waits, mark
    cdef public long long seen


@cython.locals(S=cython.longlong, e=cython.longlong, n=cython.longlong, p=cython.longlong, sent=cython.bint,
    u=cython.longlong, v=cython.longlong, w=cython.longlong)
cdef void _set_work(Sample s) noexcept nogil

cdef long long _release(Sample s, long long w, double time, long long tail) noexcept nogil

@cython.locals(e=cython.longlong, w=cython.longlong)
cdef long long _release_readers(Sample s, long long v, double time, long long tail) noexcept nogil

@cython.locals(S=cython.longlong, head=cython.longlong, last=cython.double, n=cython.longlong,
    p=cython.longlong, tail=cython.longlong, time=cython.double, u=cython.longlong, units=cython.longlong,
    v=cython.longlong)
cpdef double makespan(Sample s) noexcept nogil

cdef void _move(Sample s, long long i, long long p) noexcept nogil

@cython.locals(d=cython.longlong)
cdef bint _holds(Sample s, long long i) noexcept nogil

@cython.locals(around=cython.longlong, e=cython.longlong, reads=cython.longlong, v=cython.longlong,
    w=cython.longlong)
cdef long long _target(Sample s, Twister twister, long long i, double drawn) noexcept nogil

@cython.locals(N=cython.longlong, before=cython.longlong, cooling=cython.double, d=cython.longlong,
    drawn=cython.double, good=cython.bint, i=cython.longlong, j=cython.longlong, least=cython.double,
    now=cython.double, p=cython.longlong, temperature=cython.double, value=cython.double)
cpdef double anneal(Sample s, Twister twister, long long moves, double hot, double cold, long long[::1] best) noexcept
