"""What OpenCV's FaceDetectorYN finds in the two public-domain photos: golden values for the detector's decoding.

Debian 13's python3-opencv (4.10): debootstrap --variant=minbase --include=python3-opencv trixie DIR, put this file, the photos and the model into it,
and in there: python3 make_faces.py face_detection.onnx astronaut.png grace_hopper.jpg > faces.json
"""
import json
import sys

import cv2

golden = {"opencv": cv2.__version__, "order": "x y width height, right eye, left eye, nose, right and left mouth corner of the person, score", "looks": []}
for file in sys.argv[2:]:
    photo = cv2.imread(file)
    # as it is, mirrored, four in one, cut so that no side is a multiple of 32, and small ones
    pictures = {
        "plain": photo,
        "mirrored": photo[:, ::-1].copy(),
        "four": cv2.vconcat([cv2.hconcat([photo, photo])] * 2),
        "cut": photo[7:450, 30:431].copy(),
        "third": photo[1::3, 1::3].copy(),
        "eighth": photo[4::8, 4::8].copy(),
    }
    for name, picture in pictures.items():
        height, width = picture.shape[:2]
        for threshold in (0.6, 0.02):
            detector = cv2.FaceDetectorYN.create(sys.argv[1], "", (width, height), threshold, 0.3, 5000)
            _, faces = detector.detect(picture)
            golden["looks"].append({"file": file, "change": name, "width": width, "height": height, "threshold": threshold,
                                    "faces": [[round(float(v), 4) for v in face] for face in (faces if faces is not None else [])]})

looks = ",\n".join(json.dumps(look) for look in golden.pop("looks"))
print(json.dumps(golden)[:-1] + ', "looks": [\n' + looks + "\n]}")
