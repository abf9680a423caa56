"""One adapter for each data set, all meeting one protocol."""

from training.data.adapters.protocol import Adapter, DataSetCard, Remark
from training.data.adapters.registry import adapter_names, card_of, open_adapter

__all__ = ["Adapter", "DataSetCard", "Remark", "adapter_names", "card_of", "open_adapter"]
