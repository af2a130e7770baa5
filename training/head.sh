#!/usr/bin/env bash
# In the folder that prepare.sh filled: the confidence head of a checkpoint, given as the argument.
# An hour on two cores; what is collected already is not asked again.
set -euo pipefail
checkpoint=${1:?usage: head.sh CHECKPOINT}

signals() { # NAME INDEX DATA HELD-OUT-TITLES LIMIT [SEED]
  retro train signals --checkpoint "$checkpoint" --out "signals/$1.jsonl" \
    --index "$2-index" --data "$3" --hold-out "$4" --limit "$5" --seed "${6:-11}"
}
cp ranker.json "$checkpoint/"
mkdir -p signals
signals all squad train-v1.1.jsonl 40 150
signals hot hotpot-held hotpot-fit.jsonl 0 100
for number in 0 1 2; do signals "small$number" "small$number" train-v1.1.jsonl 0 45; done
signals sq2 squad dev-v2.0-none.jsonl 0 150
signals dev squad dev-v1.1-fit.jsonl 0 260
signals wiki wiki dev-v1.1-fit.jsonl 0 160 12
signals wiki-train wiki train-v1.1.jsonl 40 60 12
open=(nq-open webquestions entityquestions)
for name in "${open[@]}"; do signals "$name" wiki "$name-fit.jsonl" 0 250; done

rows=()
for name in all hot small0 small1 small2 sq2 dev wiki wiki-train "${open[@]}"; do rows+=(--rows "signals/$name.jsonl"); done
retro train head "${rows[@]}" --checkpoint "$checkpoint" --threshold 0.5
