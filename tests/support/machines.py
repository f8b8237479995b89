"""Devices as the fields of an instance describe them, read without code of the project."""

from dataclasses import dataclass

import numpy as np

from placer.instance.cluster import DeviceClass, Link
from placer.instance.instance import Instance


@dataclass(frozen=True)
class Machine:
    """One device, as the fields of the instance describe it."""

    name: str
    cls: DeviceClass
    room: float
    place: int | None
    server: str | None
    uplink: Link | None
    time: tuple[float, ...]  # inf = may not go there

    @property
    def is_host(self) -> bool:
        return self.cls.kind == "host"

    def same(self, other: "Machine") -> bool:
        """Whether the two may share a stage."""
        mine = (self.cls.name, self.room, self.place, self.server, self.time)
        return not self.is_host and mine == (
            other.cls.name,
            other.room,
            other.place,
            other.server,
            other.time,
        )


def machines(instance: Instance) -> list[Machine]:
    out = []
    for cls in instance.classes:
        for i in range(cls.count):
            names = {cls.name, f"{cls.name}{i}"}
            reserve = cls.memory_reserve_bytes
            taken = reserve[i] if isinstance(reserve, tuple) else reserve
            if cls.memory_reserve_share:
                taken += cls.memory_reserve_share * cls.memory_limit_bytes
            places = [
                k
                for k, entry in enumerate(instance.order)
                if names & ({entry} if isinstance(entry, str) else set(entry))
            ]
            servers = [s for s in instance.servers if names & set(s.devices)]
            time = tuple(
                float(instance.time_ms[v, instance.types.index(cls.type)])
                if cls.type in instance.types
                and (not instance.pin[v] or names & set(instance.pin[v]))
                and not names & set(instance.forbid[v])
                else np.inf
                for v in range(len(instance.ids))
            )
            out.append(
                Machine(
                    name=f"{cls.name}{i}",
                    cls=cls,
                    room=cls.memory_limit_bytes - taken,
                    place=places[0] if places else None,
                    server=servers[0].name if servers else None,
                    uplink=servers[0].uplink if servers else None,
                    time=time,
                )
            )
    return out
