# What the compiler needs to know of set_labels.py.

cimport cython

cdef int LOWEST


cdef class Sets:
    cdef long long[::1] offset
    cdef long long[:, ::1] target
    cdef double[:, :, ::1] need


cdef class Prices:
    cdef long long[:, ::1] weight
    cdef int[::1] value
    cdef int[:, ::1] table


cdef class Labels:
    cdef long long[:, ::1] place
    cdef int[::1] worth
    cdef double[:, ::1] used
    cdef long long[::1] head, counts


cpdef completions(long long[::1] offset, long long[:, ::1] target, long long[:, ::1] weight, int[::1] value,
    int[:, ::1] table)

@cython.locals(gain=cython.int, r=cython.longlong, s=cython.longlong, size=cython.longlong,
    skip=cython.longlong, step=cython.longlong, take=cython.longlong, w0=cython.longlong, w1=cython.longlong)
cdef void _complete(long long[::1] offset, long long[:, ::1] target, long long[:, ::1] weight,
    int[::1] value, int[:, ::1] table) noexcept nogil

cpdef long long best_label(Sets sets, Prices prices, Labels labels, double[::1] limit, int least)

@cython.locals(d=cython.longlong)
cdef bint _dominates(Labels labels, long long a, long long b) noexcept nogil

@cython.locals(after=cython.longlong, before=cython.longlong, row=cython.longlong, state=cython.longlong)
cdef bint _insert(Labels labels, long long new) noexcept nogil

@cython.locals(d=cython.longlong, s=cython.longlong)
cdef bint _extend(Sets sets, Prices prices, Labels labels, double[::1] limit, long long row,
    long long choice, long long new) noexcept nogil

@cython.locals(left=cython.longlong, s=cython.longlong)
cdef bint _may_be_worth(Sets sets, Prices prices, Labels labels, long long row, long long choice, int worth,
    int least) noexcept nogil

@cython.locals(best=cython.longlong, choice=cython.longlong, d=cython.longlong, first=cython.longlong,
    last=cython.longlong, row=cython.longlong, rows=cython.longlong, s=cython.longlong,
    step=cython.longlong, worth=cython.int)
cdef long long _search(Sets sets, Prices prices, Labels labels, double[::1] limit, int least) noexcept nogil
