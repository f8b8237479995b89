# What the compiler needs to know of views.py.

cdef int UNDECIDED, TAKEN, EXCLUDED, BEFORE, MEMORY, FIXED, OPEN, BLOCKS
cdef int FOUND, LEVEL, STEPS, FULL
cdef double INFINITY
cdef unsigned long long ONE, FULL_WORD


cdef class GraphView:
    cdef long long types
    cdef unsigned char[:, ::1] ok
    cdef double[:, :, ::1] time
    cdef double[::1] memory, activation, output_bytes, limit
    cdef long long flights, mode
    cdef bint by_stage, chain, gpipe
    cdef long long[::1] rank, pool, read_start, read, output_producer, devices, succ_start, succ
    cdef long long[::1] net_size, net_producer, net_direction, item_start, item_nets, near_start, near
    cdef long long[::1] net_optional
    cdef unsigned char[::1] again, paying, optional
    cdef double[:, ::1] net_cost


cdef class MeasuresView:
    cdef long long kinds
    cdef double[:, ::1] weight, boundary, scale
    cdef long long[::1] kind
    cdef double[::1] slack


cdef class SpaceView:
    cdef long long[::1] low, length, offset, parent, kind, chain, heads, missing, before, taken, excluded
    cdef long long[::1] available, position, listed, trail, stack, zone, zone_missing, order, seen
    cdef unsigned long long[::1] pool, words
    cdef int[:, ::1] used
    cdef double[:, ::1] peak, left, crossing, rows
    cdef double[::1] rank, distance, scratch, last, need, row, reach
    cdef unsigned char[::1] alive
    cdef signed char[::1] where
    cdef long long[:, ::1] frame


cdef class Control:
    cdef public long long phase, state, type, depth, listed, trail, states, pool, level_end, stamp
    cdef public long long truncated, count, goal_state, goal_type, piece_count, available, read
    cdef long long low, length, offset  # of the downset that was written last


cdef class ChainView:
    cdef unsigned char[:, ::1] ok
    cdef double[:, :, ::1] time
    cdef double[::1] memory, activation, limit, work, mix_worth
    cdef long long flights, mode
    cdef bint by_stage
    cdef double[:, ::1] own, extra
    cdef long long[::1] net_start, net_items, first, last, direction, item_start, item_nets, back
    cdef long long[::1] slot_start, devices, stride, mix_start, mix_stages


cdef class ScratchView:
    cdef int[::1] inside
    cdef unsigned char[::1] holds
    cdef double[:, ::1] moved
    cdef double[::1] compute, limits, bytes
    cdef unsigned char[:, ::1] reach, free, full
    cdef long long[:, ::1] before, slot
    cdef long long[::1] far, stop


cdef class Server:
    cdef long long kind, mixes, begin, end, known, earlier
    cdef bint near
    cdef double room
