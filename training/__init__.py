"""All that makes a DeepMedix-R1 checkpoint and judges it."""

from service.engine import torchvision_schemas

# Before anything here imports transformers: see the module.
torchvision_schemas.register_when_needed()
