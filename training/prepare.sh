#!/usr/bin/env bash
# In the folder that inputs.py wrote: databases, and the questions with what was found for them,
# tokenised (.npz). Needs no GPU; the whole corpus (wiki) takes one core a hundred minutes. What is there
# already is not made again.
set -euo pipefail

database() { [ -e "$1-index/manifest.json" ] || retro index build "$1-passages.jsonl" --out "$1-index"; }
prepare() { # NAME INDEX DATA… [OPTIONS]
  local out=$1.npz index=$2-index
  shift 2
  [ -e "$out" ] || retro train prepare --encoder mpnet --searched --index "$index" "$@" --out "$out"
}

for name in squad nq hotpot hotpot-held hop hop-held small0 small1 small2 wiki; do database "$name"; done

[ -e ranker.json ] || retro train ranker --index wiki-index --data train-v1.1.jsonl \
  --data asked-questions.jsonl --out ranker.json
[ -e altered.jsonl ] || retro train alter --data train-v1.1.jsonl --limit 36000 --seed 5 --out altered.jsonl
[ -e distant.jsonl ] || retro train distant --index wiki-index --data short-questions.jsonl \
  --depth 12 --longest 3000 --words 0.6 --out distant.jsonl
[ -e hops.jsonl ] || retro train hops --data musique.jsonl --single train-v1.1.jsonl --out hops.jsonl

prepare squad squad --data train-v1.1.jsonl
prepare altered squad --data altered.jsonl --data squad2-train-part.jsonl
prepare squad2 squad --data squad2-unanswerable.jsonl
prepare nq nq --data nq.jsonl --hold-out 0
prepare hotpot hotpot --data hotpot.jsonl --hold-out 0
prepare distant wiki --data distant.jsonl --hold-out 0
prepare corpus wiki --data train-learned.jsonl --hold-out 0 --limit 18000 --seed 7
prepare hops hop --data hops.jsonl --hold-out 0
