#!/usr/bin/env python3
"""Makes formats/ and golden.json with Pillow (Debian 12: python3-pil 9.4, python3-numpy).

golden.json holds what Pillow sees: SHA-256 of the RGB bytes of each file after convert("RGB") (EXIF orientation applied),
and of resize() to several sizes. The tests compare to the bit. Run: python3 tests/data/make_golden.py
"""
import hashlib
import json
import pathlib

import numpy
from PIL import Image, ImageOps

here = pathlib.Path(__file__).parent
formats = here / "formats"
formats.mkdir(exist_ok=True)
random = numpy.random.default_rng(7)


def smooth(width, height, channels):
    """A picture with edges, gradients and noise in every channel."""
    y, x = numpy.mgrid[0:height, 0:width]
    planes = [
        127 + 90 * numpy.sin(x / (5 + 3 * c)) * numpy.cos(y / (7 + 2 * c)) + random.normal(0, 12, (height, width)) for c in range(channels)
    ]
    return numpy.clip(numpy.stack(planes, -1), 0, 255).astype(numpy.uint8)


rgb = Image.fromarray(smooth(61, 47, 3))
grey = Image.fromarray(smooth(61, 47, 1)[..., 0])
rgba = Image.fromarray(smooth(61, 47, 4), "RGBA")
cmyk = Image.fromarray(smooth(61, 47, 4), "CMYK")
other = Image.fromarray(smooth(61, 47, 3))
deep = (smooth(61, 47, 1)[..., 0].astype(numpy.uint16) << 8) | random.integers(0, 256, (47, 61)).astype(numpy.uint16)

rgb.save(formats / "rgb.png")
grey.save(formats / "grey.png")
rgba.save(formats / "alpha.png")
rgb.quantize(32).save(formats / "palette.png")
Image.fromarray(deep).save(formats / "grey16.png")
rgb.save(formats / "baseline.jpg", quality=90)
rgb.save(formats / "progressive.jpg", quality=90, progressive=True)
grey.save(formats / "grey.jpg", quality=90)
cmyk.save(formats / "cmyk.jpg", quality=90)
rgb.save(formats / "lossless.webp", lossless=True)
rgb.save(formats / "lzw.tif", compression="tiff_lzw")
rgb.save(formats / "two_pages.tif", save_all=True, append_images=[other])
rgb.quantize(64).save(formats / "animated.gif", save_all=True, append_images=[other.quantize(64)])
for orientation in range(1, 9):
    exif = Image.Exif()
    exif[0x0112] = orientation
    rgb.save(formats / f"orientation{orientation}.jpg", quality=90, exif=exif)

golden = {"pillow": Image.__version__, "pixels": {}, "resized": {}}


def sha(image):
    return hashlib.sha256(image.tobytes()).hexdigest()


# what Pillow makes of 16-bit grey is clipped white, not the picture; the worker keeps the upper 8 bits
for path in sorted(formats.iterdir()) + [here / "astronaut.png", here / "grace_hopper.jpg"]:
    if path.name == "grey16.png":
        upright = Image.fromarray((deep >> 8).astype(numpy.uint8)).convert("RGB")
    else:
        upright = ImageOps.exif_transpose(Image.open(path)).convert("RGB")
    golden["pixels"][path.relative_to(here).as_posix()] = {"width": upright.width, "height": upright.height, "sha256": sha(upright)}

for name in ["formats/rgb.png", "astronaut.png", "grace_hopper.jpg"]:
    source = Image.open(here / name).convert("RGB")
    for filter_name, kernel in [("pillow-bicubic", Image.BICUBIC), ("pillow-bilinear", Image.BILINEAR)]:
        for size in [(160, 160), (112, 112), (320, 240), (17, 300), (source.width, 31), (29, source.height), (source.width, source.height), (1, 1)]:
            resized = source.resize(size, kernel)
            golden["resized"][f"{name} {filter_name} {size[0]}x{size[1]}"] = sha(resized)

(here / "golden.json").write_text(json.dumps(golden, indent=1) + "\n")
