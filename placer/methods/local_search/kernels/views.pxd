# What the compiler needs to know of views.py.

cdef int SEQUENTIAL, OVERLAP, DUPLEX
cdef double EPSILON



cdef class StaticView:
    cdef double[:, :, ::1] time
    cdef double[::1] memory, limit
    cdef unsigned char[:, ::1] allowed
    cdef long long[::1] class_of, net_start, net_items, net_way, item_start, item_nets, before_start
    cdef long long[::1] before, after_start, after
    cdef double[:, ::1] net_cost
    cdef long long communication
    cdef bint gpipe


cdef class StateView:
    cdef long long[::1] device, position
    cdef long long[:, ::1] held, top
    cdef double[:, ::1] compute, receive, send, load
    cdef double[::1] used, verdict, best
    cdef double[:, :, ::1] parts
    cdef unsigned char[::1] hot
