# What the compiler needs to know of moves.py.

cimport cython

from placer.methods.local_search.kernels.views cimport *

cdef int COMPUTE, RECEIVE, SEND, WITHOUT, WITH

cdef double _combined(long long communication, double compute, double receive, double send) noexcept nogil

@cython.locals(way=cython.longlong)
cdef void _refresh(StaticView static, StateView state, long long d) noexcept nogil

@cython.locals(at=cython.longlong, d=cython.longlong, k=cython.longlong, row=cython.longlong,
    value=cython.double)
cdef void _rank(StateView state) noexcept nogil

@cython.locals(d=cython.longlong, e=cython.longlong, way=cython.longlong)
cdef void _clear(StateView state) noexcept nogil

@cython.locals(d=cython.longlong, e=cython.longlong, first=cython.longlong, i=cython.longlong,
    k=cython.longlong, last=cython.longlong, way=cython.longlong)
cdef void _fill(StaticView static, StateView state) noexcept nogil

cdef double _over(StaticView static, long long d, double used) noexcept nogil

@cython.locals(alone=cython.double, c=cython.longlong, e=cython.longlong, first=cython.longlong,
    joined=cython.double, k=cython.longlong, others=cython.longlong, producer=cython.longlong,
    sends=cython.bint, sign=cython.double, way=cython.longlong)
cdef void _change(StaticView static, StateView state, long long i, long long d, long long side) noexcept nogil

@cython.locals(d=cython.longlong, k=cython.longlong)
cdef double _others(StateView state, long long row, long long a, long long b) noexcept nogil

cdef double _objective(StaticView static, StateView state) noexcept nogil

cdef double _after(StaticView static, StateView state, long long side, long long way) noexcept nogil

cdef double _square(double x) noexcept nogil

@cython.locals(a=cython.longlong, ba=cython.double, bb=cython.double, fa=cython.double, fb=cython.double,
    size=cython.double, squares=cython.double)
cdef void _judge(StaticView static, StateView state, long long i, long long b) noexcept nogil

cdef bint _better(StateView state, double slack_bytes, double objective) noexcept nogil

@cython.locals(k=cython.longlong, low=cython.longlong)
cdef long long _first_place(StaticView static, StateView state, long long i) noexcept nogil

@cython.locals(high=cython.longlong, k=cython.longlong)
cdef long long _last_place(StaticView static, StateView state, long long i) noexcept nogil

@cython.locals(a=cython.longlong, d=cython.longlong, k=cython.longlong, side=cython.longlong,
    way=cython.longlong)
cdef void _move(StaticView static, StateView state, long long i, long long b) noexcept nogil

@cython.locals(d=cython.longlong)
cdef void _mark(StaticView static, StateView state, double excess) noexcept nogil

@cython.locals(a=cython.longlong, b=cython.longlong, found=cython.longlong, high=cython.longlong,
    k=cython.longlong, low=cython.longlong, ready=cython.bint)
cdef long long _best_device(StaticView static, StateView state, long long i, bint everywhere,
    double slack_bytes, double objective) noexcept nogil

cdef long long _worth(StaticView static, long long i) noexcept nogil

@cython.locals(b=cython.longlong, goal=cython.longlong, i=cython.longlong, item=cython.longlong,
    objective=cython.double, work=cython.longlong)
cdef long long _steepest(StaticView static, StateView state, double slack_bytes) noexcept nogil

@cython.locals(b=cython.longlong, i=cython.longlong, moved=cython.bint, work=cython.longlong)
cdef long long _sweep(StaticView static, StateView state, double slack_bytes, double objective) noexcept nogil

@cython.locals(excess=cython.double, i=cython.longlong, objective=cython.double, slack_bytes=cython.double,
    step=cython.longlong, work=cython.longlong)
cdef long long _improve(StaticView static, StateView state, long long budget, bint only_mend) noexcept nogil

cpdef fill(StaticView static, StateView state)

@cython.locals(d=cython.longlong, total=cython.double)
cpdef double memory_excess(StaticView static, StateView state) noexcept nogil

@cython.locals(work=cython.longlong)
cpdef improve(StaticView static, StateView state, long long budget, bint only_mend=*)
