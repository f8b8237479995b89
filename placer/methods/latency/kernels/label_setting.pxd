# What the compiler needs to know of label_setting.py.

cimport cython

from placer.methods.latency.kernels.labels cimport *
from placer.methods.latency.kernels.matching cimport *
from placer.methods.latency.kernels.open_pieces cimport *
from placer.methods.latency.kernels.slots cimport *
from placer.methods.latency.kernels.views cimport *
from placer.methods.latency.kernels.walk cimport *

@cython.locals(c=cython.longlong, g=cython.longlong, i=cython.longlong, old=cython.longlong,
    s=cython.longlong, time=cython.double)
cdef void _carry(Search search, long long row, long long new, long long level, long long device,
    long long where) noexcept nogil

@cython.locals(bound=cython.double, cutoff=cython.double, earliest=cython.double, first=cython.longlong,
    i=cython.longlong, kept=cython.double)
cdef double _bound_of_kept(Search search, long long row, long long new, long long level,
    double last) noexcept nogil

@cython.locals(first=cython.longlong, p=cython.longlong)
cdef long long _begun(Search search, long long group) noexcept nogil

@cython.locals(a=cython.longlong, begun=cython.longlong, c=cython.longlong, fresh=cython.double,
    here=cython.bint, host=cython.longlong, new=cython.longlong, o=cython.longlong, row=cython.longlong)
cdef void _host_steps(Search search) noexcept nogil

@cython.locals(s=cython.longlong, twin=cython.longlong)
cdef bint _has_room(Search search, long long row, long long host, double fresh, bint begun) noexcept nogil

@cython.locals(e=cython.longlong, i=cython.longlong, last=cython.double, start=cython.double,
    v=cython.longlong)
cdef double _finish_on_host(Search search, long long row, long long a, long long host) noexcept nogil

@cython.locals(bound=cython.double, earliest=cython.double, i=cython.longlong, last=cython.double,
    level=cython.longlong, time=cython.double)
cdef bint _run_on_host(Search search, long long row, long long new, long long a, long long host,
    double fresh) noexcept nogil

@cython.locals(first=cython.longlong, p=cython.longlong)
cdef void _match_piece(Search search, long long new) noexcept nogil

@cython.locals(first=cython.longlong, i=cython.longlong, k=cython.longlong, new=cython.longlong,
    r=cython.longlong, row=cython.longlong, start=cython.double)
cdef void _piece_steps(Search search, long long d) noexcept nogil

@cython.locals(after=cython.double, begin_at=cython.double, cutoff=cython.double, finish=cython.double,
    g=cython.longlong, i=cython.longlong, k=cython.longlong, level=cython.longlong, opens=cython.bint,
    s=cython.longlong, slots=cython.longlong, tied=cython.longlong, where=cython.longlong)
cdef void _place(Search search, long long row, long long new, long long d, double start) noexcept nogil

@cython.locals(cutoff=cython.double, first=cython.longlong, i=cython.longlong, k=cython.longlong,
    most=cython.longlong, p=cython.longlong, time=cython.double)
cdef bint _too_late(Search search, long long new, long long d) noexcept nogil

cdef long long _after(Search search, long long row, long long k) noexcept nogil

@cython.locals(k=cython.longlong, room=cython.double)
cdef bint _takes(Search search, long long row, long long d, long long s) noexcept nogil

@cython.locals(idle=cython.bint, idle_tried=cython.bint, k=cython.longlong, room=cython.double,
    t=cython.longlong)
cdef void _place_open(Search search, long long row, long long new, long long d, long long s, long long tied,
    double finish, double bound) noexcept nogil

@cython.locals(c=cython.longlong, i=cython.longlong, level=cython.longlong, name=cython.longlong)
cdef void _append(Search search, long long row, long long new, long long d, long long s, long long opened,
    double finish, double bound) noexcept nogil

@cython.locals(c=cython.longlong)
cdef bint _use_open(Search search, long long new, long long d, long long t) noexcept nogil

@cython.locals(i=cython.longlong, row=cython.longlong)
cdef void _leave(LabelsView labels, long long state) noexcept nogil

@cython.locals(end=cython.longlong, first=cython.longlong, p=cython.longlong, r=cython.longlong,
    row=cython.longlong, u=cython.longlong)
cdef void _note_times(Search search) noexcept nogil

@cython.locals(carried=cython.longlong, d=cython.longlong, first=cython.longlong, p=cython.longlong,
    seen=cython.longlong)
cdef long long _expand(Search search, long long[::1] control) noexcept nogil

@cython.locals(seen=cython.longlong)
cdef long long _expand_all(Search search, long long[::1] control) noexcept nogil

@cython.locals(seen=cython.longlong)
cpdef long long expand_all(Search search, long long[::1] control)
