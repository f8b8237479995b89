# What the compiler needs to know of server_cuts.py.

cimport cython

from placer.methods.downsets.kernels.views cimport *

@cython.locals(begin=cython.longlong, cost=cython.double, end=cython.longlong)
cdef double _cost(ChainView c, ScratchView scratch, Server server, long long k, long long x) noexcept nogil

@cython.locals(begin=cython.longlong, end=cython.longlong, i=cython.longlong, last=cython.longlong)
cdef bint _crosses(ChainView c, ScratchView scratch, Server server, long long x) noexcept nogil

@cython.locals(i=cython.longlong, r=cython.longlong, x=cython.longlong)
cdef void _take(ChainView c, ScratchView scratch, Server server, long long k, long long v) noexcept nogil

@cython.locals(i=cython.longlong, r=cython.longlong, v=cython.longlong)
cdef void _clear(ChainView c, ScratchView scratch, long long begin, long long end) noexcept nogil

cdef double _load(ChainView c, ScratchView scratch, long long r) noexcept nogil

cdef bint _within(ScratchView scratch, double forward, double backward) noexcept nogil

@cython.locals(first=cython.longlong, flights=cython.longlong, m=cython.longlong, radix=cython.longlong,
    stride=cython.longlong)
cdef void _mark(ChainView c, ScratchView scratch, Server server, long long k, long long i,
    long long end) noexcept nogil

@cython.locals(end=cython.longlong)
cdef long long _stages(ChainView c, ScratchView scratch, Server server, long long k, long long i,
    long long top) noexcept nogil

@cython.locals(end=cython.longlong, i=cython.longlong, k=cython.longlong, known=cython.longlong,
    m=cython.longlong, s=cython.longlong, top=cython.longlong)
cdef void _pack(ChainView c, ScratchView scratch, Server server) noexcept nogil

@cython.locals(m=cython.longlong)
cdef bint _any(unsigned char[:, ::1] marks, long long i, long long mixes) noexcept nogil

@cython.locals(i=cython.longlong, m=cython.longlong)
cdef void _copy(unsigned char[:, ::1] source, unsigned char[:, ::1] target, long long begin, long long last, long long mixes) noexcept nogil

@cython.locals(e=cython.longlong, m=cython.longlong, mixes=cython.longlong, n=cython.longlong,
    s=cython.longlong)
cdef void _open(ChainView c, ScratchView scratch, Server server) noexcept nogil

cpdef pack(ChainView c, ScratchView scratch, Server server)
cpdef open_server(ChainView c, ScratchView scratch, Server server)
