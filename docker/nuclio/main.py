"""A nuclio function of CVAT's serverless part: hands a frame to a running roigcn service. Standard library only.

Written after CVAT's description of such functions and tested by calling it; it was never run on nuclio.
"""

import json
import os
import urllib.error
import urllib.request

_SECONDS = 60.0


def init_context(context):
    """Take the address and the key of the service from the environment."""
    context.user_data.server = os.environ.get("ROIGCN_SERVER", "http://host.docker.internal:8000").rstrip("/")
    context.user_data.api_key = os.environ.get("ROIGCN_API_KEY")


def handler(context, event):
    """Answer a frame, `{"image": base64, "threshold": 0 to 1}`, with its faces."""
    body = event.body if isinstance(event.body, dict) else json.loads(event.body)
    try:
        faces = _detect(context.user_data, body["image"])
    except urllib.error.HTTPError as error:
        detail = error.read(2000).decode("utf-8", "replace")
        context.logger.error(f"roigcn answers {error.code}: {detail}")
        return _answer(context, {"error": detail}, 502)
    except OSError as error:
        context.logger.error(f"roigcn does not answer: {error}")
        return _answer(context, {"error": str(error)}, 502)
    threshold = float(body.get("threshold") or 0.0)
    return _answer(context, [_shape(face) for face in faces if face["score"] >= threshold], 200)


def _detect(settings, image):
    headers = {"Content-Type": "application/json"}
    if settings.api_key:
        headers["Authorization"] = f"Bearer {settings.api_key}"
    data = json.dumps({"image_base64": image}).encode()
    request = urllib.request.Request(f"{settings.server}/detect?roi=none&store=false", data=data, headers=headers)
    with urllib.request.urlopen(request, timeout=_SECONDS) as answer:
        return json.load(answer)["faces"]


def _shape(face):
    box = face["box"]
    read = [au for au in face["aus"] if au["probability"] is not None]
    named = ", ".join(f"{au['au']} {au['probability']:.2f}" for au in read if au["active"])
    # CVAT drops numbers with a point: per cent.
    attributes = [{"name": "aus", "value": named}, {"name": "face_percent", "value": str(round(100 * face["score"]))}]
    for au in read:
        attributes.append({"name": au["au"], "value": "true" if au["active"] else "false"})
        attributes.append({"name": f"{au['au']}_probability", "value": f"{au['probability']:.4f}"})
    return {
        "confidence": f"{face['score']:.4f}",
        "label": "face",
        "type": "rectangle",
        "points": [box["x"], box["y"], box["x"] + box["width"], box["y"] + box["height"]],
        "attributes": attributes,
    }


def _answer(context, body, status):
    return context.Response(body=json.dumps(body), headers={}, content_type="application/json", status_code=status)
