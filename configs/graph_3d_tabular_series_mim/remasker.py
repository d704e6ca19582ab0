r"""ReMasker (Du et al., 2024): hide more of a table's known cells, learn to fill what is missing.

Paper: Du, Melis, Wang. "ReMasker: Imputing Tabular Data with Masked Autoencoding", ICLR 2024,
       arXiv:2309.13793.
Claim: On par with or better than state-of-the-art imputers, the more so the more is missing. 13
       imputers on 12 tables.
Measured: scikit-learn's wine, 178 rows, three seeds of mask and weights, f32, a minute of one core
       each, 2026-11-30, by the command below with data.bundled=wine, data.missing.seed=S, seed=S,
       with `mcar` and `mnar`, and with select.ratio=0.0. RMSE of the missing cells, 30 % of all, at
       random 30 % of 7 of 13 columns:

       | run           | RMSE at random | RMSE completely at random | RMSE not at random |
       |---------------|----------------|---------------------------|--------------------|
       | untrained     | 0.408 ± 0.064  | 0.398 ± 0.063             | 0.406 ± 0.098      |
       | no re-masking | 0.323 ± 0.062  | 0.311 ± 0.062             | 0.336 ± 0.073      |
       | `laptop`      | 0.188 ± 0.007  | 0.183 ± 0.008             | 0.231 ± 0.004      |
       | kNN           | 0.148 ± 0.001  | 0.160 ± 0.005             | 0.203 ± 0.006      |
       | iterative     | 0.156 ± 0.007  | 0.181 ± 0.006             | 0.215 ± 0.013      |
       | column means  | 0.205 ± 0.012  | 0.207 ± 0.010             | 0.269 ± 0.006      |

       Diabetes, one seed, the same cells for all:

       | run               | RMSE at random |
       |-------------------|----------------|
       | `laptop`          | 0.250          |
       | the authors' code | 0.253          |
       | kNN               | 0.236          |
       | iterative         | 0.229          |
       | column means      | 0.276          |

       Re-masking is what makes it fill in; kNN and the iterative imputer, scikit-learn's as are the
       means, go before it on tables this small: *opposite*. Settings: one for all runs, defaults
       for the imputers; nothing was chosen for any.
Run:   maskjax --config=remasker:laptop
       --workdir=runs/remasker

A table of your own, csv or npz with empty cells or NaN, to be filled in: --config.data.path=FILE
--config.data.missing=None --config.evals.imputation=None, then again with --config.job=generate.
Presets `mcar`, `mar` and `mnar` are three mechanisms by which 30 % go missing (`laptop` is `mar`),
on scikit-learn's diabetes or data.bundled=wine, breast_cancer, iris.
Without re-masking: select.ratio=0.0. Re-masking half of what is known, however much is missing:
select.fn=select.top. The mechanism not at random that the paper's benchmark uses, by other columns
that are missing too: data.missing.score=dict(fn="score.logistic", ratio=0.3, hide_inputs=True).
The public code's sizes for diabetes are the default; model.encoder.depth=6, model.decoder.depth=4
are those for california, and with twice the widths depths of 8 and 6 those for larger tables.
Deviations: where more than half of a row is missing, the public code shows the model zeros in place
of some missing cells and asks for them, here missing cells are never seen nor asked; batches
straddle epochs; biases start at zero; float32, no loss scaling; simulated cells go missing in all
columns, not in eight at most.
"""

from ml_collections import ConfigDict, config_dict

from maskjax import lab

NOTE = dict(
  scale=dict(kind="table", shape=(10, 1), examples=442, parameters=77_569),
  counted="public code: remasker.safetensors golden.parameters_of_diabetes",
  laptop=dict(kind="table", shape=(10, 1), examples=442, missing=0.3),
)


def method(c: ConfigDict) -> None:
  """More known cells are hidden, up to half of all; what is missing is filled in from the rest."""
  c.over = dict(fn="over.patches", patch=(1,))
  c.model = dict(
    encoder=dict(fn="model.vit", class_token=True, norm_eps=1e-8, dtype="float32"),
    decoder=dict(fn="model.masked_decoder", bounds=(0.0, 1.0)),
  )
  c.score = dict(fn="score.uniform")
  c.select = dict(fn="select.top_up", ratio=0.5)
  c.hide = dict(fn="hide.drop", keep=config_dict.placeholder(object))
  c.target = dict(fn="recover.pixels", normalise=False)
  # Of the cells that are hidden, and of those that are seen.
  c.losses = dict(
    recover=dict(fn="recover.squared_error"),
    seen=dict(fn="recover.squared_error", of=dict(asked="visible"), scale=1.0),
  )
  # Missing cells, predicted from all that is there.
  filled = dict(x="values", hidden="seen.hidden", other="predicted_values")
  c.let = dict(filled=dict(fn="hide.mix", of=filled))
  c.branches = dict(whole=dict(hidden="nothing"))
  imputed = dict(fn="task.to_field", of=dict(x="whole.filled"))
  c.answers = dict(impute=dict(imputed, takes=("batch",)))


def paper(c: ConfigDict) -> None:
  """The public code's settings for the diabetes table."""
  c.batch_size, c.eval_batch_size = 64, 256
  c.total_epochs, c.total_steps = 600.0, 0
  c.model.encoder.update(size="mu", width=32, depth=4, heads=4)
  c.model.decoder.update(width=32, depth=2, heads=4)

  c.data = dict(
    name="table",
    path="",
    bundled="diabetes",
    train="train",
    test="",
    missing=dict(
      score=dict(fn="score.logistic", ratio=0.3),
      select=dict(fn="select.threshold", above=0.0),
      seed=0,
    ),
  )
  c.loader.workers = 0
  c.optimizer = dict(
    fn="adamw",
    learning_rate=1e-3,
    scale_by_batch=64,
    schedule="cosine",
    end=0.01,
    warmup_epochs=40.0,
    warmup_steps=0,
    weight_decay=0.01,
    decay_rules=((".*", 1.0),),
    b1=0.9,
    b2=0.95,
    clip=0.0,
  )

  c.evals = dict(
    imputation=dict(fn="train.evaluators.imputation", every=0, test="truth"),
    reconstruction=dict(fn="train.evaluators.reconstruction", every=0, split="train", examples=24),
  )
  c.checkpoint.every, c.log.every = 1000, 100


@lab.preset
def laptop(c: ConfigDict) -> None:
  """1000 steps, a minute on one core, with the same share of them for the warm-up."""
  c.total_epochs, c.total_steps = 0.0, 1000
  c.optimizer.update(warmup_epochs=0.0, warmup_steps=67)


@lab.preset("laptop")
def mar(c: ConfigDict) -> None:
  """Missing at random: half of the columns by a logistic model of the others, as the default."""


@lab.preset("laptop")
def mcar(c: ConfigDict) -> None:
  """Missing completely at random: every cell alike."""
  c.data.missing.score, c.data.missing.select.above = dict(fn="score.uniform"), 0.7


@lab.preset("laptop")
def mnar(c: ConfigDict) -> None:
  """Missing not at random: large values rather than small ones."""
  c.data.missing.score.fn = "score.self_masked"
