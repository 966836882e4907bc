"""`POST /detect`: one picture in, its faces and Action Units out, within the request."""
