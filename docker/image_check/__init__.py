"""``make image-check``: the image built and run where there is no registry of images."""
