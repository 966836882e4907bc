"""Pictures of faces with landmarks and labels: shards on disk, augmentation, and the data set the loop draws from."""
