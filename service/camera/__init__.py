"""`/camera`: frames of a camera over a WebSocket, each answered within moments, none of them kept."""
