#!/usr/bin/env python3
"""The tables behind a detector card's threshold and filter, from what `calibrate` writes: calibrate.py FILE.csv [KEY=VALUE ...]

Prints recall of WIDER FACE and false boxes by score, the share of boxes that are none by score (what `certain` is read from), and what the filter does;
KEY=VALUE tries another one, as in `per_octave=0.05 finer=3`.
"""
import csv, math, sys

rule = dict(threshold=0.6, per_octave=0.07, highest=0.8, sharpness=0.0, doubt=2.0, finer=2.5)
rule.update((k, float(v)) for k, v in (a.split("=") for a in sys.argv[2:]))
rows = list(csv.DictReader(open(sys.argv[1])))
for r in rows:
    for k in ("score", "sharpness", "width", "height", "seen"):
        r[k] = float(r[k] or 0)


def kept(r, octaves):
    least = rule["threshold"]
    if octaves:
        least = max(least, min(rule["highest"], least + rule["per_octave"] * math.log2(max(1, r["seen"] / 8))))
    side = min(r["width"], r["height"])
    judged = rule["finer"] == 0 or side >= 56 and side >= rule["finer"] * r["seen"]
    return r["score"] > least and not (judged and r["sharpness"] < rule["sharpness"] + rule["doubt"] * (1 - r["score"]))


def line(name, keep):
    wider = [r for r in rows if r["set"] == "wider"]
    recall, found, marked = [], 0, 0
    for subset in ("easy", "medium", "hard"):
        of = [r for r in wider if r["subset"] == subset and r["label"] in ("true", "missed")]
        found, marked = found + sum(r["label"] == "true" and keep(r) for r in of), marked + len(of)
        recall.append(f"{found / marked:.3f}")
    count = lambda s, *labels: sum(r["set"] == s and r["label"] in labels and keep(r) for r in rows)
    print(f"{name:>22}  {' / '.join(recall)}  false {count('wider', 'false'):4}  near {count('wider', 'near'):4}  photos {count('photos', 'true')} + {count('photos', 'false')}"
          f"  lfw {count('lfw300', 'true')}  faceless {count('faceless', 'false')}")


for score in (0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8):
    line(f"score {score}", lambda r: r["score"] > score)
line("filter", lambda r: kept(r, True))
line("filter, detail 4", lambda r: kept(r, False))
print("\nof WIDER's boxes that the filter keeps, by score: how many touch no label or miss it")
for low in (0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9):
    of = [r for r in rows if r["set"] == "wider" and r["label"] in ("true", "near", "false") and low <= r["score"] < low + 0.05 and kept(r, True)]
    if of:
        print(f"  {low:.2f}: {sum(r['label'] != 'true' for r in of) / len(of):.2f} of {len(of)}")
