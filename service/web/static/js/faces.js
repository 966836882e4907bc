// Faces of an answer in one shape, whichever way they came.

/** Bytes of base64. */
function bytes(base64) {
  const text = atob(base64);
  const array = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i += 1) array[i] = text.charCodeAt(i);
  return array;
}

/** Faces of `/detect` and of `/camera`; maps that came inline are decoded. */
export function facesOf(answer) {
  return answer.faces.map((face, number) => {
    const maps = new Map();
    for (const au of face.aus) {
      const inline = au.roi_map;
      if (!inline?.to_image) continue;
      const values = new Float32Array(bytes(inline.data).buffer);
      maps.set(au.au, { values, height: inline.height, width: inline.width, toImage: inline.to_image });
    }
    return { face: number, track: face.track, box: face.box, score: face.score, landmarks: face.landmarks, aus: face.aus, maps };
  });
}

/** What `/jobs/…/roi-maps` says, as maps by AU for each face: `[{ frame, face, maps }]`. */
export function mapsOf(answer) {
  return answer.faces.map((face) => {
    const steps = new Int8Array(bytes(face.data).buffer);
    const size = face.height * face.width;
    const maps = new Map();
    answer.aus.forEach((au, k) => {
      if (!face.to_image) return;
      const values = Float32Array.from(steps.subarray(k * size, (k + 1) * size), (step) => step * answer.step);
      maps.set(au, { values, height: face.height, width: face.width, toImage: face.to_image });
    });
    return { frame: face.frame, face: face.face, maps };
  });
}
