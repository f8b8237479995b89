"""Serving by trying everything: where each node lies; written down from the definition."""

from itertools import product


def plans(instance, microbatches, *, scattered=False):
    """All placements that keep memory and intervals: time per token, smallest room per layer."""
    n, devices = instance.n, instance.devices
    for where in product(range(len(devices)), repeat=n):
        if not scattered and not intervals([devices[d].is_host for d in where], where):
            continue
        loads = dict.fromkeys(where, 0.0)
        held = dict.fromkeys(where, 0.0)
        count = dict.fromkeys(where, 0)
        for v, d in enumerate(where):
            cls = instance.classes[devices[d].class_index]
            loads[d] += instance.time_ms[v, instance.types.index(cls.type)]
            held[d] += instance.memory_bytes[v] + microbatches * instance.activation_bytes[v]
            count[d] += 1 if instance.activation_bytes[v] > 0 or not instance.activation_bytes.any() else 0
        smallest = min(
            ((devices[d].memory_limit_bytes - held[d]) / count[d] for d in held if count[d]), default=None
        )
        if any(held[d] > devices[d].memory_limit_bytes * (1 + 1e-9) for d in held):
            continue
        for v in range(n - 1):
            if where[v] != where[v + 1]:
                loads[where[v]] += transfer(instance, v, where[v], where[v + 1])
                loads[where[v + 1]] += transfer(instance, v, where[v + 1], where[v])
        back = 0.0
        if where[-1] != where[0]:
            back = transfer(instance, n - 1, where[-1], where[0]) + transfer(
                instance, n - 1, where[0], where[-1]
            )
        yield max(sum(loads.values()) + back, microbatches * max(loads.values())), smallest


def intervals(hosts, where):
    """Whether the nodes of each accelerator have none of another accelerator between them."""
    seen, last = set(), None
    for host, d in zip(hosts, where, strict=True):
        if host or d == last:
            continue
        if d in seen:
            return False
        seen.add(d)
        last = d
    return True


def transfer(instance, v, device, other):
    """What one end of a transfer pays."""
    cls = instance.classes[instance.devices[device].class_index]
    if cls.is_host:
        return 0.0
    links = [cls.link]
    a, b = instance.devices[device].server, instance.devices[other].server
    if a is not None and a != b:
        links.append(instance.servers[a].uplink)
    size = instance.output_bytes[v]
    if size == 0:
        return 0.0
    return max(link.latency_ms + 1e3 * size / link.bandwidth_bytes_per_s for link in links)
