#!/usr/bin/env bash
# In the folder that prepare.sh filled: the reader, for a GPU; needs no database and no FAISS.
# A run that was cut off goes on where it stood. STEPS, MORE and LAST: updates of the three runs.
set -euo pipefail
: "${STEPS:=4000}" "${MORE:=700}" "${LAST:=5400}"

qa() {
  retro train qa --prepared squad.npz --prepared altered.npz --prepared nq.npz --prepared hotpot.npz \
    --prepared distant.npz:2 --prepared corpus.npz --prepared hops.npz:2 --batch-size 64 -k 3 "$@"
}
qa --prepared squad2.npz:5 --encoder-lora 64 --out a --steps "$STEPS" --removed 0.2 --lr 5e-4 --seed 201
qa --prepared squad2.npz:15 --start a --out b --steps "$MORE" --removed 0.25 --lr 2.5e-4 --seed 202
retro train average a b --out c
qa --prepared squad2.npz:8 --start c --out d --steps "$LAST" --removed 0.22 --lr 4e-4 --seed 303
retro train average c d --out reader
