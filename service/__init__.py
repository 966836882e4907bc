"""HTTP service and command line: uploads in, jobs followed, results out."""
