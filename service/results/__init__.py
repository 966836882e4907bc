"""`/jobs/{id}/frames`: what was stored of a job, as JSON, as a stream of lines and as pictures."""
