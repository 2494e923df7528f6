#!/usr/bin/env python3
"""Makes checkpoints/ with PyTorch (Debian 12: python3-torch 1.13): MobileFaceNets of tiny widths, saved in every way that is read,
and in golden.json what PyTorch computes with them. Run: python3 tests/data/make_checkpoints.py
"""
import gzip
import io
import json
import pathlib
import pickle
import struct
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


def picture(height, width=None):
    """[1, 3, height, width]; value i is sin(i / 100)."""
    width = width or height
    return torch.sin(torch.arange(3 * height * width, dtype=torch.float64) / 100).float().reshape(1, 3, height, width)


golden = {}


def note(name, size, output, width=None):
    golden[name] = {"size": size, **({"width": width} if width else {}), "output": [float(f"{v:.9g}") for v in output.detach().flatten().tolist()]}


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



# expansion, channels, count, first stride, as in the original; the widths are tiny
BOTTLENECKS = [(2, 4, 5, 2), (4, 6, 1, 2), (2, 6, 6, 1), (4, 6, 1, 2), (2, 6, 2, 1)]


def bottlenecks(kind, inputs):
    blocks = []
    for wider, outputs, count, first in BOTTLENECKS:
        for i in range(count):
            blocks.append(kind(inputs, outputs, first if i == 0 else 1, wider))
            inputs = outputs
    return nn.Sequential(*blocks)


class NumberedBlock(nn.Module):
    """Of Xiaoccer's layout."""

    def __init__(self, inputs, outputs, stride, wider):
        super().__init__()
        wide = inputs * wider
        self.adds = stride == 1 and inputs == outputs
        self.conv = nn.Sequential(
            nn.Conv2d(inputs, wide, 1, bias=False), nn.BatchNorm2d(wide), nn.PReLU(wide),
            nn.Conv2d(wide, wide, 3, stride, 1, groups=wide, bias=False), nn.BatchNorm2d(wide), nn.PReLU(wide),
            nn.Conv2d(wide, outputs, 1, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x):
        return x + self.conv(x) if self.adds else self.conv(x)


class Tall(nn.Module):
    """Xiaoccer's layout: 112 high, 96 wide."""

    def __init__(self, first, features, outputs):
        super().__init__()
        self.conv1 = Block(3, first, 3, 2, 1)
        self.dw_conv1 = Block(first, first, 3, 1, 1, groups=first)
        self.blocks = bottlenecks(NumberedBlock, first)
        self.conv2 = Block(BOTTLENECKS[-1][1], features)
        self.linear7 = Block(features, features, (7, 6), groups=features, activation=False)
        self.linear1 = Block(features, outputs, activation=False)

    def features(self, x):
        return self.linear7(self.conv2(self.blocks(self.dw_conv1(self.conv1(x)))))

    def forward(self, x):
        return self.linear1(self.features(x)).flatten(1)


class Relu6Block(nn.Module):
    """Of foamliu's layout."""

    def __init__(self, inputs, outputs, stride, wider):
        super().__init__()
        wide = inputs * wider
        self.adds = stride == 1 and inputs == outputs
        self.conv = nn.Sequential(
            nn.Sequential(nn.Conv2d(inputs, wide, 1, bias=False), nn.BatchNorm2d(wide), nn.ReLU6()),
            nn.Sequential(nn.Conv2d(wide, wide, 3, stride, 1, groups=wide, bias=False), nn.BatchNorm2d(wide), nn.ReLU6()),
            nn.Conv2d(wide, outputs, 1, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x):
        return x + self.conv(x) if self.adds else self.conv(x)


class Separable(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.depthwise = nn.Conv2d(channels, channels, 3, 1, 1, groups=channels, bias=False)
        self.pointwise = nn.Conv2d(channels, channels, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.bn2 = nn.BatchNorm2d(channels)

    def forward(self, x):
        return nn.functional.relu6(self.bn2(self.pointwise(nn.functional.relu6(self.bn1(self.depthwise(x))))))


class GlobalDepthwise(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.depthwise = nn.Conv2d(channels, channels, 7, groups=channels, bias=False)
        self.bn = nn.BatchNorm2d(channels)

    def forward(self, x):
        return self.bn(self.depthwise(x))


class Capped(nn.Module):
    """foamliu's layout: ReLU6 for PReLU."""

    def __init__(self, first, features, outputs):
        super().__init__()
        self.conv1 = nn.Sequential(nn.Conv2d(3, first, 3, 2, 1, bias=False), nn.BatchNorm2d(first), nn.ReLU6())
        self.dw_conv = Separable(first)
        self.features = bottlenecks(Relu6Block, first)
        self.conv2 = nn.Sequential(nn.Conv2d(BOTTLENECKS[-1][1], features, 1, bias=False), nn.BatchNorm2d(features), nn.ReLU6())
        self.gdconv = GlobalDepthwise(features)
        self.conv3 = nn.Conv2d(features, outputs, 1)
        self.bn = nn.BatchNorm2d(outputs)

    def forward(self, x):
        return self.bn(self.conv3(self.gdconv(self.conv2(self.features(self.dw_conv(self.conv1(x))))))).flatten(1)


def save_safetensors(state, path):
    header, data = {"__metadata__": {"format": "pt"}}, b""
    for key, value in state.items():
        raw = value.numpy().tobytes()
        header[key] = {"dtype": {torch.float32: "F32", torch.int64: "I64"}[value.dtype], "shape": list(value.shape), "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


for name, width, tensors, model in (("tall", 96, 283, Tall(4, 10, 8)), ("capped", None, 256, Capped(4, 10, 8))):
    trained(model)
    if name == "capped":  # so that activations meet both bounds of ReLU6
        for module in model.modules():
            if isinstance(module, nn.Sequential) and isinstance(module[-1], nn.ReLU6):
                module[1].bias.data[::2] += 4
    state = {k: v.clone() for k, v in model.state_dict().items()}
    assert len([k for k in state if not k.endswith("num_batches_tracked")]) == tensors, "as many as the real one has"
    note(name, 112, model(picture(112, width)), width)
    if name == "tall":
        note("tall features", 130, model.features(picture(130)).mean((2, 3)))
    torch.save({"iters": 7, "net_state_dict": state}, here / f"{name}.ckpt")
    torch.save({"epoch": 7, "model": {"backbone": {f"module.{k}": v for k, v in state.items()}, "margin": {"weight": torch.zeros(3, 8)}}}, here / f"{name}.pth.tar", _use_new_zipfile_serialization=False)
    save_safetensors(state, here / f"{name}.safetensors")

(here / "golden.json").write_text(json.dumps(golden, indent=1) + "\n")
