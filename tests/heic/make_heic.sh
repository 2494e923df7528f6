#!/bin/sh
# Makes the pictures of this folder from the two photos with heif-enc of libheif 1.20 or later (Debian 13's libheif-examples) and vips: sh make_heic.sh
set -e
cd "$(dirname "$0")"
work=$(mktemp -d)
cp ../data/astronaut.png "$work/frame-1.png"
cp ../data/astronaut.png "$work/frame-2.png"
vips colourspace ../data/astronaut.png "$work/deep.png" rgb16
heif-enc -q 60 ../data/astronaut.png -o plain.heic
heif-enc -q 60 --rotate-cw 90 ../data/grace_hopper.jpg -o rotated.heic
heif-enc -q 60 --cut-tiles 192 ../data/astronaut.png -o tiles.heic
vips resize ../data/astronaut.png "$work/full.png" 7.875
vips crop "$work/full.png" "$work/large.png" 0 0 4032 3024
heif-enc -q 35 --cut-tiles 512 "$work/large.png" -o large.heic
heif-enc -q 60 -b 10 "$work/deep.png" -o ten_bits.heic
heif-enc -q 60 -t 128 ../data/astronaut.png -o thumbnail.heic
heif-enc -q 40 -S "$work/frame-1.png" "$work/frame-2.png" -o sequence.heics
rm -r "$work"
