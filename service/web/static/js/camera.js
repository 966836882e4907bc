export function startCamera() { return { stop() {}, choices() {} }; }
