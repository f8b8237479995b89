# What the compiler needs to know of downset_table.py.

cimport cython

from placer.methods.latency.kernels.views cimport *

cdef unsigned long long BASIS, PRIME

cdef bint _contains(unsigned long long[:, ::1] words, long long state, long long atom) noexcept nogil

@cython.locals(at=cython.ulonglong, code=cython.ulonglong, mask=cython.ulonglong, same=cython.bint,
    w=cython.longlong)
cdef long long _slot_of(Enumeration e) noexcept nogil

@cython.locals(state=cython.longlong, w=cython.longlong)
cdef void _enter(Enumeration e) noexcept nogil

@cython.locals(a=cython.longlong, atoms=cython.longlong, i=cython.longlong)
cdef void _count_missing(Enumeration e) noexcept nogil

@cython.locals(a=cython.longlong, at=cython.longlong, out=cython.longlong, w=cython.longlong)
cdef void _add_children(Enumeration e) noexcept nogil

@cython.locals(atoms=cython.longlong)
cdef void _expand(Enumeration e, long long[::1] control) noexcept nogil

@cython.locals(i=cython.longlong, nodes=cython.longlong, out=cython.longlong, u=cython.longlong)
cdef long long _list_live(AtomsView atoms, unsigned long long[:, ::1] words, long long[::1] start,
    long long[::1] live, long long head, long long[::1] control) noexcept nogil

@cython.locals(a=cython.longlong, g=cython.longlong, groups=cython.longlong, out=cython.longlong)
cdef long long _list_open(AtomsView atoms, unsigned long long[:, ::1] words, long long[::1] start,
    long long[::1] opened, long long head, long long[::1] inside, long long[::1] control) noexcept nogil

cpdef expand(Enumeration e, long long[::1] control)

cpdef long long list_live(AtomsView atoms, unsigned long long[:, ::1] words, long long[::1] start,
    long long[::1] live, long long head, long long[::1] control)

cpdef long long list_open(AtomsView atoms, unsigned long long[:, ::1] words, long long[::1] start,
    long long[::1] opened, long long head, long long[::1] inside, long long[::1] control)
