# What the compiler needs to know of knapsack.py.

cimport cython

cdef int LOWEST

@cython.locals(after=cython.longlong, at=cython.longlong, gain=cython.int, here=cython.longlong,
    loss=cython.int, new=cython.int, old=cython.int, r=cython.longlong, s=cython.longlong, size=cython.longlong,
    skip=cython.longlong, step=cython.longlong, take=cython.longlong, w0=cython.longlong, w1=cython.longlong)
cdef void _best(long long[::1] offset, long long[:, ::1] target, long long[:, ::1] weight,
    int[:, ::1] price, int[::1] value, unsigned char[:, ::1] taken, int[:, :, ::1] layers) noexcept nogil

cpdef best_values(long long[::1] offset, long long[:, ::1] target, long long[:, ::1] weight,
    int[:, ::1] price, int[::1] value, unsigned char[:, ::1] taken, int[:, :, ::1] layers)

@cython.locals(after=cython.longlong, at=cython.longlong, b0=cython.longlong, b1=cython.longlong,
    f0=cython.longlong, f1=cython.longlong, first=cython.longlong, gain=cython.int, here=cython.longlong,
    i=cython.longlong, j=cython.longlong, new=cython.int, old=cython.int, s=cython.longlong,
    size=cython.longlong, skip=cython.longlong, step=cython.longlong, take=cython.longlong)
cdef void _best_box(long long[::1] offset, long long[:, ::1] target, long long[:, ::1] forward,
    long long[:, ::1] backward, int[::1] value, unsigned char[:, :, ::1] taken,
    int[:, :, :, ::1] layers) noexcept nogil

cpdef best_box_values(long long[::1] offset, long long[:, ::1] target, long long[:, ::1] forward,
    long long[:, ::1] backward, int[::1] value, unsigned char[:, :, ::1] taken, int[:, :, :, ::1] layers)
