"""`/jobs`: clips to analyse, their progress, and the end of them."""
