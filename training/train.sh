#!/usr/bin/env bash
# In the folder that prepare.sh filled: the reader, for a GPU; needs no database and no FAISS.
# A run that was cut off goes on where it stood. STEPS and MORE: updates of the two runs.
set -euo pipefail
: "${STEPS:=12000}" "${MORE:=1500}"

qa() {
  retro train qa --prepared squad.npz --prepared altered.npz --prepared nq.npz --prepared hotpot.npz \
    --prepared distant.npz --prepared hops.npz:2 --batch-size 64 -k 3 "$@"
}
qa --prepared squad2.npz:5 --encoder-lora 64 --out a --steps "$STEPS" --removed 0.2 --lr 5e-4 --seed 201
qa --prepared squad2.npz:15 --start a --out b --steps "$MORE" --removed 0.25 --lr 2.5e-4 --seed 202
retro train average a b --out reader
