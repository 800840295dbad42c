"""Reading files: images, recordings, archives, prepared sets, and a cache of them."""
