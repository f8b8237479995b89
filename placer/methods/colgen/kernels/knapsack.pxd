# What the compiler needs to know of knapsack.py.

cimport cython

cdef int LOWEST

@cython.locals(after=cython.longlong, at=cython.longlong, gain=cython.int, here=cython.longlong,
    new=cython.int, old=cython.int, r=cython.longlong, s=cython.longlong, size=cython.longlong,
    skip=cython.longlong, step=cython.longlong, take=cython.longlong, w0=cython.longlong, w1=cython.longlong)
cdef void _best(long long[::1] offset, long long[:, ::1] target, long long[:, ::1] weight, int[::1] value,
    unsigned char[:, ::1] taken, int[:, :, ::1] layers) noexcept nogil

cpdef best_values(long long[::1] offset, long long[:, ::1] target, long long[:, ::1] weight, int[::1] value,
    unsigned char[:, ::1] taken, int[:, :, ::1] layers)
