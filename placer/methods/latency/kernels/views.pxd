# What the compiler needs to know of views.py.

cdef int STOP, COUNT, LIMIT, FREE, USED, BEST, COMPARED, UPPER, DROPPED, CANDIDATE
cdef double INFINITY, TIE, MEMORY_SLACK
cdef unsigned long long ONE, FULL_WORD


cdef class AtomsView:
    cdef public long long[::1] node_start, node, atom_of, inner_start, inner, outer_start, outer, source_start
    cdef public long long[::1] source, consumer_start, consumer, next_start, next, needs, group, group_size
    cdef public long long[::1] pool_start, pool, alike
    cdef public double[:, ::1] time, transfer, host_time
    cdef public double[::1] memory, limit, group_memory, host_limit


cdef class LatticeView:
    cdef public unsigned long long[:, ::1] words
    cdef public long long[::1] child_start, child_atom, child, live_start, live, open_start, open
    cdef public unsigned char[::1] started


cdef class SlotsView:
    cdef public long long[::1] kind, pieces, host
    cdef public double[::1] memory
    cdef public long long pools, each
    cdef public bint serial, whole_groups


cdef class LevelsView:
    cdef public long long[::1] part
    cdef public long long[:, ::1] down


cdef class LabelsView:
    cdef public double[::1] makespan, bound, values
    cdef public double[:, ::1] finish, free, busy
    cdef public long long[:, ::1] left, name, where
    cdef public long long[::1] state, level, parent, device, follow, head, length, counters


cdef class WalkView:
    cdef public long long[::1] base, offered, at, hi, added, state, missing, readers, left, kept
    cdef public long long[::1] members, partial
    cdef public double[:, ::1] compute, receive, send, after
    cdef public double[::1] held, fresh, start, ready, limit, per_byte
    cdef public unsigned char[::1] inside, piece, open


cdef class Step:
    cdef long long[::1] read, kept_old, kept_new, made, made_node, group_old, touched, place
    cdef long long reads, keeps, makes, touches
    cdef double[::1] done, rest
    cdef unsigned char[::1] fits


cdef class OpenPieces:
    cdef long long[::1] head, follow, parent, slot
    cdef double[::1] time, held, bound
    cdef long long free, next_parent, next_slot
    cdef double next_time, next_held


cdef class Search:
    cdef AtomsView atoms
    cdef LatticeView lattice
    cdef SlotsView slots
    cdef LevelsView levels
    cdef LabelsView labels
    cdef Step step
    cdef WalkView walk
    cdef double[:, ::1] h, h0
    cdef double[:, :, ::1] grown
    cdef unsigned char[::1] present
    cdef OpenPieces opened
    cdef bint opens
    cdef long long beam, state


cdef class Bound:
    cdef AtomsView atoms
    cdef LatticeView lattice
    cdef SlotsView slots
    cdef LevelsView levels
    cdef WalkView walk
    cdef double[:, ::1] h, h0
    cdef double[:, :, ::1] grown, grown_memory
    cdef double[::1] through, tail, quickest, rest, total, all_read
    cdef long long state


cdef class Enumeration:
    cdef AtomsView atoms
    cdef unsigned long long[:, ::1] words
    cdef long long[::1] child_start, child_atom, child, table, missing
    cdef unsigned long long[::1] key
    cdef public long long head, count


cdef void spend(long long[::1] control, long long steps) noexcept nogil
