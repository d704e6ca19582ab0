"""Which files of a workdir are what, by their names below it."""

import re

# What a run never reads back; the values of checkpoints; the files that make a checkpoint count.
WRITTEN = re.compile(r"(^|/)(tensorboard|views|profile)/")
VALUES = re.compile(r"((?:^|.*/)checkpoints/[^/]+)/(?!digest/)")
# What each process writes of a checkpoint.
PARTS = re.compile(r"(?:^|/)checkpoints/[^/]+/state/ocdbt\.process_(\d+)/")
SEAL = re.compile(r"(^|/)checkpoints/[^/]+/digest/")
# Half-written: hidden files, fresh copies about to be renamed, orbax's unfinished steps.
TEMPORARY = ".orbax-checkpoint-tmp"
UNFINISHED = re.compile(rf"(^|/)\.|\.new$|{re.escape(TEMPORARY)}")
# What grows all the time and is not looked at before the next checkpoint.
LATER = re.compile(r"(^|/)(wandb|profile)/")
