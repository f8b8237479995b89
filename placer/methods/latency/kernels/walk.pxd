# What the compiler needs to know of walk.py.

cimport cython

from placer.methods.latency.kernels.views cimport *

@cython.locals(N=cython.longlong, a=cython.longlong, count=cython.longlong, e=cython.longlong,
    g=cython.longlong, inside=cython.bint, k=cython.longlong, u=cython.longlong)
cpdef void begin(WalkView walk, AtomsView atoms, LatticeView lattice, long long state) noexcept nogil

cpdef bint fits(WalkView walk, AtomsView atoms, long long depth, long long k) noexcept nogil

@cython.locals(earliest=cython.double, g=cython.longlong, held=cython.double, k=cython.longlong,
    part=cython.longlong, rest=cython.double)
cdef bint _can_add(WalkView walk, AtomsView atoms, long long a, long long depth) noexcept nogil

@cython.locals(a=cython.longlong, e=cython.longlong, g=cython.longlong, u=cython.longlong)
cdef void _remove(WalkView walk, AtomsView atoms, long long depth) noexcept nogil

@cython.locals(fresh=cython.double, g=cython.longlong, held=cython.double)
cdef void _memory(WalkView walk, AtomsView atoms, long long a, long long d) noexcept nogil

@cython.locals(K=cython.longlong, e=cython.longlong, k=cython.longlong, u=cython.longlong)
cdef void _add(WalkView walk, AtomsView atoms, long long a, long long d) noexcept nogil

@cython.locals(b=cython.longlong, e=cython.longlong, hi=cython.longlong)
cdef void _offer(WalkView walk, AtomsView atoms, long long a, long long d) noexcept nogil

cdef void skip_larger(WalkView walk, long long depth) noexcept nogil

@cython.locals(a=cython.longlong, d=cython.longlong, g=cython.longlong, hi=cython.longlong,
    lo=cython.longlong, mid=cython.longlong, now=cython.longlong)
cpdef long long following(WalkView walk, AtomsView atoms, LatticeView lattice, SlotsView slots) noexcept nogil

