// The signed colours of model/draw.py and the faces' colours of model/panel.py.

export const POSITIVE = [214, 39, 40];
export const NEGATIVE = [31, 100, 200];
export const MAX_ALPHA = 0.75;

const FACES = [
  [0, 95, 160], [190, 80, 0], [0, 125, 90], [165, 75, 130], [110, 90, 0], [60, 60, 60], [20, 125, 160], [150, 30, 40],
];

/** A face's colour, the same wherever it appears. */
export function faceColour(number) {
  return `rgb(${FACES[number % FACES.length].join(" ")})`;
}

/** The value that is drawn in full colour: the largest in the maps, rounded up, between 0.2 and 1. */
export function fullColourValue(maps) {
  let largest = 0;
  for (const map of maps) for (const value of map) if (Math.abs(value) > largest) largest = Math.abs(value);
  return Math.min(1, Math.max(0.2, Math.ceil(largest * 20 - 1e-4) / 20));
}

/**
 * RGBA pixels of a signed map: red above zero, blue below, as opaque as the value is large. Of several maps the value
 * of largest size counts at each pixel.
 */
export function signedPixels(maps, width, height, limit) {
  const pixels = new Uint8ClampedArray(4 * width * height);
  for (let i = 0; i < width * height; i += 1) {
    let value = 0;
    for (const map of maps) if (Math.abs(map[i]) > Math.abs(value)) value = map[i];
    const colour = value > 0 ? POSITIVE : NEGATIVE;
    pixels[4 * i] = colour[0];
    pixels[4 * i + 1] = colour[1];
    pixels[4 * i + 2] = colour[2];
    pixels[4 * i + 3] = Math.round(255 * MAX_ALPHA * Math.min(1, Math.abs(value) / limit));
  }
  return new ImageData(pixels, width, height);
}
