"""What a team would write in Python instead of this worker: pika, OpenCV and ONNX Runtime, the same models, one process a core.

Usage: peer.py PORT QUEUE EXCHANGE MODELS [YUNET]
With YUNET, OpenCV's file of that detector, faces and their five points are its, in a picture of at most 640 pixels a side; without, they
are those of RFB-320 and of the network of 68 landmarks. A picture is searched once, in the whole.
"""
import json
import sys

import cv2
import numpy as np
import onnxruntime
import pika

port, queue, exchange, models = sys.argv[1:5]
yunet = sys.argv[5] if len(sys.argv) > 5 else None
SIDE = 640
TEMPLATE = np.float32([[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]])
cv2.setNumThreads(1)


def load(name):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(f"{models}/{name}.onnx", options, providers=["CPUExecutionProvider"])


embedder = load("face_embedding")
if yunet:
    detector = cv2.FaceDetectorYN.create(yunet, "", (320, 320), 0.6, 0.3, 5000)
else:
    detector, landmarks = load("face_detection"), load("face_landmarks")


def planes(picture, mean, std):
    return np.ascontiguousarray((picture.astype(np.float32).transpose(2, 0, 1)[None] - mean) / std)


def find_yunet(bgr):
    """Yields box (x, y, width, height), score and five points."""
    scale = min(1, SIDE / max(bgr.shape[:2]))
    small = cv2.resize(bgr, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) if scale < 1 else bgr
    detector.setInputSize((small.shape[1], small.shape[0]))
    _, found = detector.detect(small)
    for face in found if found is not None else []:
        yield face[:4] / scale, face[14], face[4:14].reshape(5, 2) / scale


def find_rfb(bgr):
    height, width = bgr.shape[:2]
    small = cv2.cvtColor(cv2.resize(bgr, (320, 240)), cv2.COLOR_BGR2RGB)
    scores, boxes = detector.run(["scores", "boxes"], {"input": planes(small, 127, 128)})
    scores = scores[0, :, 1]
    corners = (boxes[0] * [width, height, width, height])[scores > 0.7]
    scores = scores[scores > 0.7]
    sizes = np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], 1)
    for i in np.array(cv2.dnn.NMSBoxes(sizes.tolist(), scores.tolist(), 0.7, 0.3)).flatten():
        x, y, w, h = sizes[i]
        corner, side = np.array([x + w / 2 - h / 2, y]), h
        crop = cv2.warpAffine(bgr, np.float32([[64 / side, 0, -corner[0] * 64 / side], [0, 64 / side, -corner[1] * 64 / side]]), (64, 64))
        grey = cv2.cvtColor(crop, cv2.COLOR_BGR2GRAY).astype(np.float32) / 256
        p = landmarks.run(None, {"input": grey[None, None]})[0].reshape(-1, 2) * side + corner
        yield sizes[i], scores[i], np.array([p[[37, 38, 40, 41]].mean(0), p[[43, 44, 46, 47]].mean(0), p[30], p[[48, 60]].mean(0), p[[54, 64]].mean(0)])


def embed(bgr, points):
    matrix, _ = cv2.estimateAffinePartial2D(np.float32(points), TEMPLATE, method=cv2.LMEDS)
    vector = embedder.run(None, {"input": planes(cv2.warpAffine(bgr, matrix, (112, 112)), 127.5, 127.5)})[0][0]
    return (vector / np.linalg.norm(vector)).tolist()


def on_job(channel, method, properties, body):
    bgr = cv2.imdecode(np.frombuffer(body, np.uint8), cv2.IMREAD_COLOR)
    faces = [{"box": [float(v) for v in box], "score": float(score), "vector": embed(bgr, points)}
             for box, score, points in (find_yunet if yunet else find_rfb)(bgr)]
    channel.basic_publish(exchange, "face.embedded", json.dumps({"job_id": properties.message_id, "embeddings": faces}),
                          pika.BasicProperties(delivery_mode=2, message_id=properties.message_id, content_type="application/json"))
    channel.basic_ack(method.delivery_tag)


connection = pika.BlockingConnection(pika.ConnectionParameters("127.0.0.1", int(port)))
channel = connection.channel()
channel.confirm_delivery()
channel.basic_qos(prefetch_count=16)
channel.basic_consume(queue, on_job)
channel.start_consuming()
