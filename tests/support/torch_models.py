"""Small torch models, and instances made from their exported graphs without the importer."""

import math

import torch
from torch import nn

from placer.instance.instance import Instance
from placer.instance.origin import Origin, Source
from tests.support.plans import gpus

WIDTH, WORDS, TOKENS = 8, 12, 5


class Block(nn.Module):
    """A residual block."""

    def __init__(self):
        super().__init__()
        self.norm = nn.LayerNorm(WIDTH)
        self.up = nn.Linear(WIDTH, 2 * WIDTH)
        self.down = nn.Linear(2 * WIDTH, WIDTH)

    def forward(self, x):
        return x + self.down(torch.relu(self.up(self.norm(x))))


class Decoder(nn.Module):
    """Embeddings with a position parameter and a buffer, blocks, a norm and a head."""

    def __init__(self, blocks=4, tied=False):
        super().__init__()
        self.embed = nn.Embedding(WORDS, WIDTH)
        self.position = nn.Parameter(torch.randn(TOKENS, WIDTH))
        self.register_buffer("scale", torch.tensor(2.0))
        self.layers = nn.ModuleList(Block() for _ in range(blocks))
        self.norm = nn.LayerNorm(WIDTH)
        self.head = nn.Linear(WIDTH, WORDS, bias=False)
        if tied:
            self.head.weight = self.embed.weight

    def forward(self, words):
        x = self.embed(words) * self.scale + self.position
        for layer in self.layers:
            x = layer(x)
        return self.head(self.norm(x))


def words():
    return torch.arange(TOKENS).reshape(1, TOKENS).repeat(2, 1)


def instance_of(module, arguments, devices=2, by="operator", **more) -> Instance:
    """Return an instance with a node for each operator of the exported graph, or for each of its modules."""
    program = torch.export.export(module, arguments)
    signature = program.graph_signature
    weights = {**signature.inputs_to_parameters, **signature.inputs_to_buffers}
    ids, origins, edges, producer = [], [], set(), {}
    for node in program.graph.nodes:
        if node.op != "call_function":
            continue
        stack = node.meta.get("nn_module_stack", {})
        path = [name for name, _ in stack.values()][-1] if stack else ""
        if by == "module":
            path = ".".join(path.split(".")[:2]) if path.startswith("layers") else path.split(".")[0]
        parameters = tuple(weights[a.name] for a in node.all_input_nodes if a.name in weights)
        if by == "module" and path and origins and origins[-1].module == path:
            last = origins[-1]
            origins[-1] = Origin(
                module=path,
                operators=(*last.operators, node.name),
                parameters=tuple(dict.fromkeys(last.parameters + parameters)),
            )
        else:
            ids.append(node.name)
            origins.append(Origin(str(node.target), path, (node.name,), parameters))
        producer[node.name] = len(ids) - 1
        edges |= {
            (producer[a.name], len(ids) - 1)
            for a in node.all_input_nodes
            if producer.get(a.name, len(ids) - 1) != len(ids) - 1
        }
    return Instance.build(
        ids=ids,
        types=("gpu", "cpu"),
        time_ms=[[1.0, math.inf if more.get("no_host") else 5.0]] * len(ids),
        transfer_ms=[0.1] * len(ids),
        edges=sorted(edges),
        classes=gpus(devices),
        origin=origins,
        source=Source("torch", f"{type(module).__module__}:{type(module).__name__}"),
    )


def cut(instance: Instance, first: dict[str, str]) -> list[str]:
    """Device of each node: from the first node whose module begins so, onwards."""
    device, out = "", []
    left = dict(first)
    for origin in instance.origin:
        for prefix in [p for p in left if origin.module.startswith(p)]:
            device = left.pop(prefix)
        out.append(device)
    assert not left
    return out
