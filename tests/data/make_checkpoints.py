#!/usr/bin/env python3
"""Makes checkpoints/ with PyTorch (Debian 12: python3-torch 1.13): a MobileFaceNet of tiny widths, saved in every way that is read,
and in golden.json what PyTorch computes with it. Run: python3 tests/data/make_checkpoints.py
"""
import gzip
import io
import json
import pathlib
import pickle
import tarfile

import torch
from torch import nn

here = pathlib.Path(__file__).parent / "checkpoints"
here.mkdir(exist_ok=True)
torch.manual_seed(5)


class Block(nn.Module):
    def __init__(self, inputs, outputs, kernel=1, stride=1, pad=0, groups=1, activation=True):
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, pad, groups=groups, bias=False)
        self.bn = nn.BatchNorm2d(outputs)
        self.prelu = nn.PReLU(outputs) if activation else nn.Identity()

    def forward(self, x):
        return self.prelu(self.bn(self.conv(x)))


class Bottleneck(nn.Module):
    def __init__(self, inputs, outputs, wide, stride, residual):
        super().__init__()
        self.conv = Block(inputs, wide)
        self.conv_dw = Block(wide, wide, 3, stride, 1, groups=wide)
        self.project = Block(wide, outputs, activation=False)
        self.residual = residual

    def forward(self, x):
        y = self.project(self.conv_dw(self.conv(x)))
        return x + y if self.residual else y


class Stage(nn.Module):
    def __init__(self, width, wide, blocks):
        super().__init__()
        self.model = nn.Sequential(*[Bottleneck(width, width, wide, 1, True) for _ in range(blocks)])

    def forward(self, x):
        return self.model(x)


class Head(nn.Module):
    def __init__(self, width, kernel, outputs):
        super().__init__()
        self.conv_6_dw = Block(width, width, kernel, groups=width, activation=False)
        self.linear = nn.Linear(width, outputs, bias=False)
        self.bn = nn.BatchNorm1d(outputs)

    def forward(self, x):
        return self.bn(self.linear(self.conv_6_dw(x).flatten(1)))


class MobileFaceNet(nn.Module):
    def __init__(self, widths, features, outputs, kernel, blocks=(2, 1, 1)):
        super().__init__()
        a, b, c = widths
        self.conv1 = Block(3, a, 3, 2, 1)
        self.conv2_dw = Block(a, a, 3, 1, 1, groups=a)
        self.conv_23 = Bottleneck(a, a, 2 * a, 2, False)
        self.conv_3 = Stage(a, 2 * a, blocks[0])
        self.conv_34 = Bottleneck(a, b, 2 * b, 2, False)
        self.conv_4 = Stage(b, 2 * b, blocks[1])
        self.conv_45 = Bottleneck(b, c, 2 * c, 2, False)
        self.conv_5 = Stage(c, 2 * c, blocks[2])
        self.conv_6_sep = Block(c, features)
        self.output_layer = Head(features, kernel, outputs)

    def trunk(self, x):
        for layer in (self.conv1, self.conv2_dw, self.conv_23, self.conv_3, self.conv_34, self.conv_4, self.conv_45, self.conv_5, self.conv_6_sep):
            x = layer(x)
        return x

    def forward(self, x):
        return self.output_layer(self.trunk(x))

    def features(self, x):
        return self.output_layer.conv_6_dw(self.trunk(x)).mean((2, 3))


def trained(model):
    """Statistics and slopes that are not those of a new network."""
    for module in model.modules():
        if isinstance(module, (nn.BatchNorm2d, nn.BatchNorm1d)):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.2)
            nn.init.normal_(module.running_mean, std=0.2)
            nn.init.uniform_(module.running_var, 0.3, 2)
        if isinstance(module, nn.PReLU):
            nn.init.uniform_(module.weight, -0.2, 1.2)
    return model.eval()


def picture(size):
    """[1, 3, size, size]; value i is sin(i / 100)."""
    return torch.sin(torch.arange(3 * size * size, dtype=torch.float64) / 100).float().reshape(1, 3, size, size)


golden = {}


def note(name, size, output):
    golden[name] = {"size": size, "output": [float(f"{v:.9g}") for v in output.detach().flatten().tolist()]}


small = trained(MobileFaceNet((6, 8, 10), 12, 16, kernel=3))
state = {k: v.clone() for k, v in small.state_dict().items()}
note("embedding", 48, small(picture(48)))
note("features", 70, small.features(picture(70)))
torch.save(state, here / "zip.pth")
torch.save({"epoch": 3, "arch": "mobilefacenet", "best": 0.5, "state_dict": {f"module.{k}": v for k, v in state.items()}}, here / "legacy.pth.tar", _use_new_zipfile_serialization=False)
torch.save({"state_dict": state, "optimizer": torch.optim.SGD(small.parameters(), lr=0.1, momentum=0.9).state_dict()}, here / "parameters.pt")

for name, kind in (("half", torch.float16), ("bfloat16", torch.bfloat16), ("double", torch.float64)):
    torch.save({k: v.to(kind) if v.is_floating_point() else v for k, v in state.items()}, here / f"{name}.pth")
    small.load_state_dict({k: v.to(kind).float() if v.is_floating_point() else v for k, v in state.items()})
    note(name, 48, small(picture(48)))
small.load_state_dict(state)

plain = io.BytesIO()
torch.save(state, plain)
with tarfile.open(here / "wrapped.tar.gz", "w:gz") as tar:
    entry = tarfile.TarInfo("model.pth")
    entry.size = plain.tell()
    plain.seek(0)
    tar.addfile(entry, plain)

folded = {}
for key, value in state.items():
    prefix, _, part = key.rpartition(".")
    if prefix.endswith("bn") and not prefix.startswith("output_layer.bn"):
        continue
    if key.endswith(".conv.weight"):
        norm = key[: -len("conv.weight")] + "bn."
        scale = state[norm + "weight"] / torch.sqrt(state[norm + "running_var"] + 1e-5)
        folded[key] = value * scale[:, None, None, None]
        folded[key[: -len("weight")] + "bias"] = state[norm + "bias"] - state[norm + "running_mean"] * scale
    else:
        folded[key] = value
torch.save(folded, here / "folded.pth")

landmarks = trained(MobileFaceNet((4, 4, 6), 512, 136, kernel=7, blocks=(1, 1, 1)))
torch.save({"state_dict": landmarks.state_dict()}, here / "landmarks.pth.tar", _use_new_zipfile_serialization=False)
note("landmarks", 160, landmarks.features(picture(160)))


class Evil:
    def __reduce__(self):
        return eval, ("open('/tmp/face-embed-was-here', 'w')",)


with open(here / "evil.pth", "wb") as file:
    plain = io.BytesIO()
    torch.save({"conv1.conv.weight": torch.zeros(1)}, plain, _use_new_zipfile_serialization=False)
    head = plain.getvalue()
    pickles = io.BytesIO(head)
    for _ in range(3):
        pickle.load(pickles)
    file.write(head[: pickles.tell()] + pickle.dumps({"state_dict": Evil()}, protocol=2))

(here / "golden.json").write_text(json.dumps(golden, indent=1) + "\n")
