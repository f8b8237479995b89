# What the compiler needs to know of downset_keys.py.

cimport cython

from placer.methods.downsets.kernels.views cimport *

cdef unsigned long long SPREAD, MIX

@cython.locals(code=cython.ulonglong, i=cython.longlong)
cdef long long bucket(SpaceView space, long long at, long long begin, long long length) noexcept nogil

@cython.locals(W=cython.longlong, begin=cython.longlong, d=cython.longlong, end=cython.longlong,
    v=cython.longlong, w=cython.longlong)
cdef void write(GraphView g, SpaceView space, Control ctl) noexcept nogil

@cython.locals(begin=cython.longlong, end=cython.longlong, w=cython.longlong)
cdef (long long, long long) _write_whole(SpaceView space, long long at) noexcept nogil

@cython.locals(changed=cython.bint, i=cython.longlong)
cdef bint _sort_twins(GraphView g, SpaceView space, long long begin, long long end) noexcept nogil

@cython.locals(b=cython.longlong, c=cython.longlong, changed=cython.bint, code=cython.ulonglong,
    j=cython.longlong, v=cython.longlong)
cdef bint _sort_group(GraphView g, SpaceView space, long long first, long long last) noexcept nogil

@cython.locals(i=cython.longlong)
cdef bint is_written(SpaceView space, Control ctl, long long x) noexcept nogil

@cython.locals(at=cython.longlong, b=cython.longlong, before=cython.longlong, first=cython.longlong,
    j=cython.longlong, x=cython.longlong, y=cython.longlong)
cdef bint barred(GraphView g, SpaceView space, long long v) noexcept nogil
