#!/usr/bin/env bash
# `flexhpc jobscript` prints scripts that bash and shellcheck take, for every job and site, from the build folder and
# installed; what is the user's is quoted; what is wrong is told. tests/slurm submits what it prints.
# Run: cost 3
# Planted and caught: the site's resources left out, --nodes and --time left out; words of --set not quoted; a newline of the
# command line in the script's comment; the site's file sourced as well as put in.
# shellcheck source=tests/fault/tiny.sh
source "$FX_TESTS_DIR/fault/tiny.sh"
jobs=$FX_TESTS_DIR/../jobs

# ---- Every script is short and begins as Slurm wants it, and is taken by bash, made ready for every site.
for file in "$jobs"/*.sbatch; do
    [ "$(wc -l <"$file")" -lt 40 ] || fail "$file: 40 lines or more"
    grep -q '^#SBATCH .*--open-mode=append --output=%x-' "$file" || fail "$file: output"
    for site in "$jobs"/sites/*.env; do
        study=()
        [[ $file != */study.sbatch ]] || study=(--study seeds)
        expect 0 "$FLEXHPC" jobscript tiny.yaml --job "$(basename "$file" .sbatch)" --site "$(basename "$site" .env)" "${study[@]}"
        cp out made.sh
        expect 0 bash -n made.sh
        [[ $site$file == *generic* || $file == *requeue* ]] && command -v shellcheck >/dev/null && expect 0 shellcheck made.sh
        grep -q 'FLEX_SITE' made.sh && fail "the site's file is not in $file"
        grep -qF "#SBATCH $(sed -n 's/^FLEX_SBATCH=(\(.*\))$/\1/p' "$site")" made.sh || fail "no resources of $site in $file"
    done
done

# ---- What it does: run by bash, with srun and squeue that tell what they get.
mkdir bin
printf '#!/bin/bash\nprintf "<%%s>" "$@"\n' >bin/srun
printf '#!/bin/bash\necho 1-00:00:00\n' >bin/squeue
printf '#!/bin/bash\necho 1764500000\n' >bin/date
chmod +x bin/*
mkdir 'a b'
cp tiny.yaml "a b/it's.yaml"
expect 0 "$FLEXHPC" jobscript --site ndr-infiniband --nodes 16 --time 1-06:00:00 "a b/it's.yaml" --set "data.path=\$(touch x); 'y
touch z" --set run.timeout=60
cp out made.sh
grep '^#SBATCH' made.sh | tail -n 2 >out
says out '^#SBATCH --nodes=16$'
says out '^#SBATCH --time=1-06:00:00$'
says made.sh '^# train-multi.sbatch: '
expect 0 env SLURM_JOB_ID=7 PATH="$PWD/bin:$PATH" bash made.sh --set "seed=3 4"
wanted="<--unbuffered><flexhpc><train><a b/it's.yaml><--run><runs/it's><--time-limit><1-00:00:00@1764500000><--set><data.path=\$(touch x); 'y
touch z><--set><run.timeout=60><--set><seed=3 4>"
[[ $(cat out) == *"$wanted" ]] || fail "arguments"
[ ! -e x ] || fail "a word was run"
[ ! -e z ] || fail "a line was run"
expect 0 "$FLEXHPC" jobscript tiny.yaml --job pack
says out '^set -- tiny.yaml "\$@"$'
expect 0 "$FLEXHPC" jobscript tiny.yaml --job eval --run runs/other
says out '^set -- tiny.yaml runs/other "\$@"$'
says out '^FLEX_SBATCH=\(--ntasks-per-node=4 '
expect 0 "$FLEXHPC" jobscript tiny.yaml --study weak-levels --run pool --set study.members=4
cp out made.sh
says made.sh '^#SBATCH .*--array=1-4$'
expect 0 env SLURM_ARRAY_JOB_ID=7 SLURM_ARRAY_TASK_ID=2 SLURM_ARRAY_TASK_COUNT=3 PATH="$PWD/bin:$PATH" bash made.sh --ranks 2
[[ $(cat out) == *"<flexhpc><study><weak-levels><tiny.yaml><--run><pool><--part><2/3><--time-limit><1-00:00:00@1764500000>"* ]] ||
    fail "arguments of a study"
[[ $(cat out) == *"<--set><study.members=4><--ranks><2>" ]] || fail "options of a study"
cp "$jobs/sites/generic.env" ./mine.env
expect 0 "$FLEXHPC" jobscript tiny.yaml --site ./mine.env

# ---- What is refused.
refused 2 '--site: "perlmuter" is none of generic, ndr-infiniband, perlmutter (' "$FLEXHPC" jobscript tiny.yaml --site perlmuter
refused 2 '--job: "trian" is none of array-seeds, eval, ' "$FLEXHPC" jobscript tiny.yaml --job trian
refused 2 '--job: "../tiny" is none of' "$FLEXHPC" jobscript tiny.yaml --job ../tiny
refused 1 './none.env: open' "$FLEXHPC" jobscript tiny.yaml --site ./none.env
refused 2 'study weak-level: no such command; did you mean study weak-levels?' "$FLEXHPC" jobscript tiny.yaml --study weak-level
refused 2 '--study NAME: which study does the script study run?' "$FLEXHPC" jobscript tiny.yaml --job study
refused 2 '--study: the script train does not run one' "$FLEXHPC" jobscript tiny.yaml --job train --study seeds
refused 2 '--nodes: "many"' "$FLEXHPC" jobscript tiny.yaml --nodes many
refused 2 '--nodes: "0"' "$FLEXHPC" jobscript tiny.yaml --nodes 0
refused 2 '--time: "3"' "$FLEXHPC" jobscript tiny.yaml --time 3
refused 2 '--time: "9:59": at least 10 minutes' "$FLEXHPC" jobscript tiny.yaml --time 9:59
refused 2 '--time: "1:00 x"' "$FLEXHPC" jobscript tiny.yaml --time "1:00 x"
refused 2 'train.stepz' "$FLEXHPC" jobscript tiny.yaml --set train.stepz=3
sed -i '/^FLEX_SBATCH/d' mine.env
refused 2 './mine.env: has no line FLEX_SBATCH=(...)' "$FLEXHPC" jobscript tiny.yaml --site ./mine.env

# ---- Installed.
cmake --install "$FX_BINARY_DIR" --prefix "$PWD/prefix" >out
expect 0 ./prefix/bin/flexhpc jobscript tiny.yaml --job requeue
cmp <(grep -v '^# Made' out) <("$FLEXHPC" jobscript tiny.yaml --job requeue | grep -v '^# Made') || fail "installed: another script"
echo "scripts for every job and site"
