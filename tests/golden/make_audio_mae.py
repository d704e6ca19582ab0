"""Makes audio_mae.safetensors: what Audio-MAE's public code makes of fixed inputs.

Run where torch and torchaudio (2.11.0, of which the file compliance/kaldi.py alone) are, with a
clone of https://github.com/facebookresearch/AudioMAE (commit bd60e29):
python tests/golden/make_audio_mae.py CLONE. Of dataset.py it runs the one call of Kaldi's
filterbank, with its arguments; of models_mae.py and models_vit.py the masks along time and
frequency; of timm_patch/swin_transformer.py the attention that the decoder's blocks are made of.
"""

import ast
import importlib.util
import pathlib
import sys
import textwrap
import types

import numpy as np

RATES = {"16k": (16_000, 128), "8k": (8_000, 64)}
GRID, WINDOW, SHIFTS = (16, 8), (4, 4), ((0, 0), (2, 0))


def kaldi():
  """torchaudio's port of Kaldi's features, without the compiled rest of torchaudio."""
  folder = importlib.util.find_spec("torchaudio").submodule_search_locations[0]
  sys.modules["torchaudio"] = types.ModuleType("torchaudio")
  return loaded(pathlib.Path(folder) / "compliance" / "kaldi.py")


def loaded(path, name="public"):
  """The module in a file."""
  spec = importlib.util.spec_from_file_location(name, path)
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module


def method(path, name, scope):
  """One function of a class in a file, by itself: the file's other imports are not there."""
  source = path.read_text()
  found = [n for n in ast.walk(ast.parse(source)) if getattr(n, "name", "") == name]
  exec(textwrap.dedent(ast.get_source_segment(source, found[0], padded=True)), scope)
  return scope[name]


def signal(rate):
  """Three tones that rise, noise, and a silent end: half a second."""
  t = np.arange(rate // 2) / rate
  tones = sum(
    np.sin(2 * np.pi * (f + 900 * t) * t) / (i + 2) for i, f in enumerate((130, 700, 2500))
  )
  noise = np.random.default_rng(0).standard_normal(t.shape) * np.exp(-8 * t)
  return np.where(t < 0.4, 0.3 * tones + 0.05 * noise, 0).astype(np.float32)


def main(clone):
  """Spectrograms, masks and windows."""
  import torch  # here, so that collecting doctests needs none
  from safetensors.numpy import save_file

  arrays, clone = {}, pathlib.Path(clone)
  features = kaldi()
  for name, (rate, bins) in RATES.items():
    audio = signal(rate)
    arrays[f"audio/{name}"] = audio
    arrays[f"mel/{name}"] = features.fbank(
      torch.tensor(audio)[None],
      htk_compat=True,
      sample_frequency=rate,
      use_energy=False,
      window_type="hanning",
      num_mel_bins=bins,
      dither=0.0,
      frame_shift=10,
    ).numpy()

  torch.manual_seed(0)
  masking = method(clone / "models_mae.py", "random_masking_2d", {"torch": torch})
  self = types.SimpleNamespace(use_custom_patch=False)
  for t, f in ((0.7, 0.3), (0.2, 0.2), (0.3, 0.3)):
    _, mask, _ = masking(self, torch.zeros(8, 512, 1), t, f)
    arrays[f"hidden/{t}/{f}"] = mask.bool().numpy()

  layers = types.ModuleType("package.layers")
  pair = lambda x: x if isinstance(x, tuple) else (x, x)
  layers.DropPath, layers.to_2tuple = torch.nn.Identity, pair
  package = types.ModuleType("package")
  package.__path__ = []
  sys.modules |= {"package": package, "package.layers": layers}
  swin = loaded(clone / "timm_patch" / "swin_transformer.py", "package.swin_transformer")
  for shift in SHIFTS:
    block = swin.SwinTransformerBlock(16, 2, GRID, WINDOW, shift).eval()
    attend = lambda x, block=block: block._shifted_window_attn(x[None])[0].sum(-1)
    x = torch.randn(GRID[0] * GRID[1], 16)
    slopes = torch.autograd.functional.jacobian(attend, x).abs().sum(-1)
    # The public code adds -100 to what the shift brings together: nearly nothing is left of it.
    arrays[f"seen/{shift[0]}"] = (slopes > 1e-12).numpy()
  save_file(arrays, pathlib.Path(__file__).with_name("audio_mae.safetensors"))


if __name__ == "__main__":
  main(sys.argv[1])
