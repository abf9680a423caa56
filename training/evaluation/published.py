"""The paper's own figures, to stand beside ours as a reference: other films, other labelers.

Reports: sample-weighted over MIMIC-CXR findings 1,906 and impression 1,927, Open-I findings 329 and
impression 385 (arXiv 2509.03906). METEOR and macro-F1 over 14 are swapped in the printed figure and
read off its geometry here. VQA: 9,666 questions of MIMIC-Ext-MIMIC-CXR-VQA and Medical-CXR-VQA.
"""

from __future__ import annotations

REPORT_FIGURES = (
    *("F1-RadGraph", "ROUGE-L", "METEOR", "CheXbert micro-14", "macro-14"),
    *("micro-5", "macro-5", "average"),
)
REPORTS: dict[str, tuple[float, ...]] = {
    "LLaVA-Rad": (0.176, 0.243, 0.234, 0.451, 0.271, 0.490, 0.405, 0.256),
    "MedGemma": (0.155, 0.171, 0.218, 0.449, 0.277, 0.471, 0.400, 0.224),
    "DeepMedix (stage 1)": (0.198, 0.261, 0.227, 0.402, 0.206, 0.404, 0.315, 0.241),
    "DeepMedix-R1": (0.222, 0.287, 0.281, 0.486, 0.281, 0.511, 0.428, 0.293),
}
"""As printed; of the models that the paper's table names."""
QUESTIONS: dict[str, float] = {
    "Qwen2.5-VL-7B": 0.28,
    "Qwen2.5-VL-7B, thinking": 0.35,
    "Qwen2.5-VL-32B": 0.35,
    "DeepSeek-VL-7B": 0.18,
    "HuatuoGPT-Vision": 0.41,
    "CheXagent": 0.56,
    "LLaVA-Rad": 0.06,
    "MedGemma": 0.44,
    "DeepMedix (stage 1)": 0.66,
    "DeepMedix-R1": 0.69,
}
"""Share of questions answered rightly."""
EXPERT_REVIEW: dict[str, tuple[float, float]] = {
    "relevance": (0.960, 0.960),
    "correctness": (0.753, 0.750),
    "completeness": (0.859, 0.773),
    "grounded preference": (0.771, 0.229),
    "overall preference": (0.7416, 0.2584),
}
"""DeepMedix-R1, and Qwen2.5-VL-7B thinking."""
