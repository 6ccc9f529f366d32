"""Loads tokenizer and model from a folder, and says in one line what is wrong with one that cannot be served."""

from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from drivers.causal import attention
from drivers.causal.messages import PLAIN
from drivers.faults import first_line
from syscalls.errors import Invalid

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
ENDS_BY_NAME = ("<|im_end|>", "<|eot_id|>", "<end_of_turn>", "<|end|>", "<|eom_id|>")


def use_threads(count: int) -> None:
    """How many threads this thread's torch may use; two busy processes with more than one each spin on each other."""
    torch.set_num_threads(count)


def load_tokenizer(folder: Path, template: str) -> Any:
    """The tokenizer, with the chat template in use. Raises Invalid where there is none."""
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except Exception as bad:  # from_pretrained raises whatever its parts raise
        raise Invalid(f"{folder}: its tokenizer cannot be loaded ({_line(bad)}): copy the model again") from None
    if template == "plain":
        tokenizer.chat_template = PLAIN
    elif template:
        tokenizer.chat_template = _read_template(Path(template))
    elif not tokenizer.chat_template:
        raise Invalid(
            f"{folder}: its tokenizer has no chat template: give the option template=plain (role: text lines), "
            "or template=FILE with a jinja template"
        )
    return tokenizer


def _read_template(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError) as bad:
        raise Invalid(f"template={path}: {bad}; give 'plain' or a file with a jinja chat template") from None


def check_architecture(folder: Path, config: dict[str, Any]) -> None:
    """Raises Invalid for what is no causal language model that transformers knows."""
    kind = config.get("model_type")
    classes = {name for names in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.values() for name in _names(names)}
    told = [str(name) for name in config.get("architectures") or ()]
    if kind not in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES or (told and not classes.intersection(told)):
        what = ", ".join(told) or f"model_type {kind!r}"
        raise Invalid(f"{folder} is of another architecture ({what}): the torch driver serves causal language models")


def _names(found: Any) -> tuple[str, ...]:
    return (found,) if isinstance(found, str) else tuple(found)


def load_model(folder: Path, *, dtype: str, accelerator: str) -> Any:
    """The model in evaluation mode. Raises Invalid for weights that are broken, incomplete or of another shape."""
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    where = pick_accelerator(accelerator)
    try:
        config = AutoConfig.from_pretrained(folder, local_files_only=True)
        model, told = AutoModelForCausalLM.from_pretrained(
            folder, config=config, dtype=pick_dtype(dtype, where), local_files_only=True, output_loading_info=True
        )
    except MemoryError:
        raise
    except Exception as bad:  # from_pretrained raises whatever its parts raise
        raise Invalid(f"{folder}: its weights cannot be loaded ({_line(bad)}): copy the model again") from None
    missing = sorted(told.get("missing_keys") or ())
    if missing:
        raise Invalid(
            f"{folder}: its weights lack {len(missing)} tensors of {type(model).__name__} (first: {missing[0]}): "
            "copy the model again"
        )
    model = model.to(where).eval().requires_grad_(False)
    attention.use_in(model)
    return model


def pick_accelerator(name: str) -> str:
    """`auto` is cuda where there is one. Raises Invalid for one that is not here."""
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(1, device=name)
    except (RuntimeError, AssertionError) as bad:
        raise Invalid(f"device={name} is not here ({_line(bad)}): give device=cpu or device=auto") from None
    return name


def pick_dtype(name: str, accelerator: str) -> Any:
    """`auto` is float32 on a CPU and the model's own elsewhere."""
    if name == "auto":
        return torch.float32 if accelerator == "cpu" else "auto"
    if name not in DTYPES:
        raise Invalid(f"dtype={name}: give auto, {', '.join(DTYPES)}")
    return DTYPES[name]


def end_ids(model: Any, tokenizer: Any) -> frozenset[int]:
    """The ids that end an answer."""
    found: set[int] = set()
    for source in (getattr(model, "generation_config", None), model.config, tokenizer):
        told = getattr(source, "eos_token_id", None)
        found.update([told] if isinstance(told, int) else told or ())
    added = tokenizer.get_added_vocab()
    found.update(added[name] for name in ENDS_BY_NAME if name in added)
    return frozenset(found)


def _line(error: Exception) -> str:
    return f"{type(error).__name__}: {first_line(error)[:200]}"
