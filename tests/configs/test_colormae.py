"""ColorMAE (Hinojosa et al. 2024), section 3: masks of green noise, a band of frequencies."""

import numpy as np


def test_masks_are_green_their_power_lies_in_a_band_of_frequencies(built, looks):
  masks = built("colormae").masks["hidden"].reshape(-1, 14, 14)
  assert looks(masks, (14, 14)).counts == [147]
  power = np.abs(np.fft.fft2(masks - masks.mean((1, 2), keepdims=True))) ** 2
  at = np.fft.fftfreq(14)
  frequency = np.hypot(at[:, None], at)
  # Where the difference of the two blurs is largest, and as far below and above it.
  band = (frequency > 0.1) & (frequency < 0.3)
  assert power[:, band].sum() / power.sum() > 0.6
  low, high = (power[:, part].mean() / power.mean() for part in (frequency < 0.1, frequency > 0.4))
  assert low < 1.5
  assert high < 0.5


def test_what_is_seen_are_clusters_apart_from_each_other(built):
  masks = built("colormae").masks["hidden"].reshape(-1, 14, 14)
  off = masks - masks.mean()
  alike = [(off[:, :-k] * off[:, k:]).mean() / off.var() for k in (1, 3)]
  assert alike[0] > 0.2
  assert alike[1] < -0.05


def test_tokens_do_not_decay_as_in_the_public_code(built, undecayed):
  assert undecayed(built("colormae")) == ["decoder/mask_token", "encoder/class_token"]
