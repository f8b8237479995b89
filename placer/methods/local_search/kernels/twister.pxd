# What the compiler needs to know of twister.py.

cimport cython

cdef int SIZE, SHIFT
cdef unsigned long long WORD, UPPER, LOWER, TWIST, TEMPER_B, TEMPER_C


cdef class Twister:
    cdef unsigned long long[::1] words
    cdef int at


@cython.locals(after=cython.int, far=cython.int, i=cython.int, y=cython.ulonglong)
cdef void refill(Twister twister) noexcept nogil

@cython.locals(y=cython.ulonglong)
cdef unsigned long long word(Twister twister) noexcept nogil

@cython.locals(mask=cython.ulonglong, drawn=cython.ulonglong)
cpdef long long below(Twister twister, long long end) noexcept nogil

@cython.locals(high=cython.ulonglong)
cpdef double share(Twister twister) noexcept nogil
