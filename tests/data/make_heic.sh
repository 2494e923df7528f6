#!/bin/sh
# Makes tests/data/heic from the two photos with heif-enc of libheif 1.20 or later (Debian 13's libheif-examples) and vips: sh make_heic.sh
set -e
cd "$(dirname "$0")"
mkdir -p heic
work=$(mktemp -d)
cp astronaut.png "$work/frame-1.png"
cp astronaut.png "$work/frame-2.png"
vips colourspace astronaut.png "$work/deep.png" rgb16
heif-enc -q 60 astronaut.png -o heic/plain.heic
heif-enc -q 60 --rotate-cw 90 grace_hopper.jpg -o heic/rotated.heic
heif-enc -q 60 --cut-tiles 192 astronaut.png -o heic/tiles.heic
heif-enc -q 60 -b 10 "$work/deep.png" -o heic/ten_bits.heic
heif-enc -q 60 -t 128 astronaut.png -o heic/thumbnail.heic
heif-enc -q 40 -S "$work/frame-1.png" "$work/frame-2.png" -o heic/sequence.heics
rm -r "$work"
