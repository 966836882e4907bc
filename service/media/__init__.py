"""`/jobs/{job_id}/media`: a job's own file, in ranges, for players."""
