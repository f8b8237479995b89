# What the compiler needs to know of open_nets.py.

cimport cython

cdef double IMPOSSIBLE

@cython.locals(a=cython.longlong, b=cython.longlong, buckets=cython.longlong, code=cython.uchar,
    gain=cython.double, i=cython.longlong, new=cython.longlong, old=cython.longlong, r=cython.longlong,
    shift=cython.longlong, value=cython.double, z=cython.longlong)
cdef void _fill(long long[::1] first, long long[::1] source, long long[::1] goal, long long[::1] takes,
    long long[::1] load, double[::1] profit, long long[::1] states, double[:, :, ::1] table,
    unsigned char[:, :, ::1] choice) noexcept nogil

cpdef fill(long long[::1] first, long long[::1] source, long long[::1] goal, long long[::1] takes,
    long long[::1] load, double[::1] profit, long long[::1] states, double[:, :, ::1] table,
    unsigned char[:, :, ::1] choice)

@cython.locals(a=cython.longlong, code=cython.longlong, i=cython.longlong, r=cython.longlong,
    state=cython.longlong, take=cython.longlong)
cpdef trace(long long[::1] first, long long[::1] source, long long[::1] goal, long long[::1] takes,
    long long[::1] load, unsigned char[:, :, ::1] choice, long long bucket, long long[::1] taken)
