"""The DeepMedix-R1 inference service: a chest radiograph in, a grounded reading out."""
