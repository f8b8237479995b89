# What the compiler needs to know of views.py.

cdef int UNDECIDED, TAKEN, EXCLUDED, BEFORE, MEMORY, FIXED, OPEN, BLOCKS
cdef int FOUND, LEVEL, STEPS, FULL
cdef double INFINITY
cdef unsigned long long ONE, FULL_WORD


cdef class GraphView:
    cdef public long long types
    cdef public unsigned char[:, ::1] ok
    cdef public double[:, :, ::1] time
    cdef public double[:, ::1] memory, activation
    cdef public double[::1] output_bytes, limit
    cdef public long long flights, mode
    cdef public bint by_stage, chain, gpipe
    cdef public long long[::1] rank, pool, width, read_start, read, output_producer, devices, succ_start
    cdef public long long[::1] succ, net_size, net_producer, net_direction, item_start, item_nets, near_start, near
    cdef public long long[::1] net_optional, branch, branch_start, branch_of
    cdef public long long[::1] group_start, group_first, group_last
    cdef public unsigned char[::1] again, paying, optional, has_twin_before
    cdef public double[:, ::1] net_cost


cdef class MeasuresView:
    cdef public long long kinds
    cdef public double[:, ::1] weight, boundary, scale, unit
    cdef public long long[::1] kind
    cdef public double[::1] slack


cdef class SpaceView:
    cdef public long long[::1] low, length, offset, parent, kind, chain, heads, missing, before, taken, excluded
    cdef public long long[::1] available, position, listed, trail, stack, zone, zone_missing, order, seen
    cdef public long long[::1] key, key_low, key_length, mask
    cdef public unsigned long long[::1] pool, words, whole
    cdef public int[:, ::1] used
    cdef public double[:, ::1] peak, left, crossing, rows
    cdef public double[::1] rank, distance, scratch, last, need, row, reach
    cdef public unsigned char[::1] alive
    cdef public signed char[::1] where
    cdef public long long[:, ::1] frame


cdef class Control:
    cdef public long long phase, state, type, depth, listed, trail, states, pool, level_end, stamp
    cdef public long long truncated, count, goal_state, goal_type, piece_count, available, read
    cdef long long low, length, offset  # of the downset that was written last
    cdef long long key, key_low, key_length, end  # of the one that stands for it, and where the pool would end


cdef class ChainView:
    cdef public unsigned char[:, ::1] ok
    cdef public double[:, :, ::1] time
    cdef public double[:, ::1] memory, activation
    cdef public double[::1] limit, work, mix_worth
    cdef public long long flights, mode
    cdef public bint by_stage
    cdef public double[:, ::1] own, extra
    cdef public long long[::1] net_start, net_items, first, last, direction, item_start, item_nets, back
    cdef public long long[::1] slot_start, devices, stride, mix_start, mix_stages


cdef class ScratchView:
    cdef public int[::1] inside
    cdef public unsigned char[::1] holds
    cdef public double[:, ::1] moved
    cdef public double[::1] compute, limits, bytes
    cdef public unsigned char[:, ::1] reach, free, full
    cdef public long long[:, ::1] before, slot
    cdef public long long[::1] far, stop


cdef class Server:
    cdef long long kind, mixes, begin, end, known, earlier
    cdef bint near
    cdef double room
