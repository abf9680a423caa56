"""Before any test module imports transformers, by itself or through xgrammar."""

from service.engine import torchvision_schemas

torchvision_schemas.register()
