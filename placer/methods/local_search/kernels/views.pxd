# What the compiler needs to know of views.py.

cdef int SEQUENTIAL, OVERLAP, DUPLEX
cdef double EPSILON



cdef class StaticView:
    cdef public double[:, :, ::1] time
    cdef public double[::1] memory, limit
    cdef public unsigned char[:, ::1] allowed
    cdef public long long[::1] class_of, net_start, net_items, net_way, item_start, item_nets, before_start
    cdef public long long[::1] before, after_start, after
    cdef public double[:, ::1] net_cost
    cdef public long long communication
    cdef public bint gpipe


cdef class StateView:
    cdef public long long[::1] device, position
    cdef public long long[:, ::1] held, top
    cdef public double[:, ::1] compute, receive, send, load
    cdef public double[::1] used, verdict, best
    cdef public double[:, :, ::1] parts
    cdef public unsigned char[::1] hot
