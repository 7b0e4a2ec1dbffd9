#!/usr/bin/env bash
# The scripts of jobs/ on a Slurm of four nodes (cluster.sh), unchanged but for the site's file: data by generate and
# pack, a training on 2 nodes x 2 tasks by `srun --mpi=pmix`, the same in a chain of requeues that its own deadline cuts
# three times and that ends with the same bits, its output appended; an array over seeds; a sweep over 1 and 2 nodes, its
# table and its plot; the large run from nothing to its evaluation, cut and requeued as well; and what `flexhpc jobscript`
# prints, a study in an array of two jobs too. Skipped where there is no Slurm, or no root.
# Run: label full
# Run: lock slurm
# Run: timeout 600
# Run: cost 45
# Planted and caught: requeue.sbatch without --open-mode=append; exit code 0 for a run that was cut; all jobs of a sweep
# writing one file, its plot reading one file, its curves with each other's points; a rank that leaves with 75 before the
# others' saves are done. Caught: a time limit told once more at the end of the last step; a batch that the strata of
# pretrain's pack don't hold.
# shellcheck source=tests/fault/tiny.sh
source "$FX_TESTS_DIR/fault/tiny.sh"
# shellcheck source=tests/slurm/cluster.sh
source "$FX_TESTS_DIR/slurm/cluster.sh"
ln -s "$FX_TESTS_DIR/../jobs" jobs
cluster_up

# How many starts a job's one output file tells of.
starts() {
    grep -c '^[0-9]* parameters; a step: ' "$1"
}

submit jobs/generate.sbatch tiny.yaml
completes "$job" 30
submit jobs/pack.sbatch tiny.yaml --set pack.strata=8 --set pack.shard_patches=4
completes "$job" 30

# ---- One training in one piece and in four, each of 2 nodes x 2 tasks, side by side. The deadline is over after a step.
steps=(--set train.steps=4 --set train.global_batch=8 --set checkpoint.every=0)
submit --nodes=2 jobs/requeue.sbatch tiny.yaml cut "${steps[@]}" --time-limit 0.1
chain=$job
submit --nodes=2 jobs/train-multi.sbatch tiny.yaml whole "${steps[@]}" --set data.stage=/dev/shm/packs
completes "$job" 60
says "flex-train-$job.out" '^staged on 2 of 2 nodes: of 8 shards each, 16 copied in all and 0 there already'
says "flex-train-$job.out" '^rank 3/4 on n[0-3], local rank 1/2, pid [0-9]+, processors '

# ---- While the chain waits for its requeues: seeds, and the large run from nothing, at the smallest size.
submit --array=0-2%2 jobs/array-seeds.sbatch tiny.yaml seeds --set train.steps=2
array=$job
FLEX_DATA=large FLEX_HELDOUT_RE=100,150 submit --nodes=1 jobs/pretrain.sbatch tiny.yaml large/run \
    --set train.steps=2 --set eval.patches=2 --time-limit 0.1
large=$job

# ---- How it scales: a job for each number of nodes, as the script's head says, and one that waits for them and plots.
for n in 1 2; do
    submit --nodes=$n jobs/scaling.sbatch tiny.yaml sweep --batch 2 --repeats 2 --set bench.steps=2 --set bench.warmup=1
done
submit --dependency=singleton jobs/scaling.sbatch tiny.yaml sweep plot
plot=$job
completes "$array" 60
[ "$(cat flex-seeds-"$array"_*.out | grep -c '^step 2/2 ')" -eq 3 ] || fail "not three seeds in three files"
for seed in 0 1 2; do grep -q "^seed: $seed$" "seeds-s$seed/config.yaml" || fail "seed $seed"; done
! cmp -s seeds-s0/ckpt/step-00000002.h5 seeds-s1/ckpt/step-00000002.h5 || fail "seeds 0 and 1 train alike"

completes "$chain" 90
[ "$(starts "flex-requeue-$chain.out")" -eq 4 ] || fail "$(starts "flex-requeue-$chain.out") starts in the file, not 4"
[ "$(grep -c '^time limit in ' "flex-requeue-$chain.out")" -eq 3 ] || fail "not cut three times"
[ "$(wc -l <cut/cmd.txt)" -eq 4 ] || fail "cut/cmd.txt"
! grep -q '^srun: .*Killed$' "flex-requeue-$chain.out" || fail "ranks that were not done when another left with 75"
expect 0 "$FLEXHPC" checkpoint compare whole/ckpt/step-00000004.h5 cut/ckpt/step-00000004.h5
same_run whole cut

completes "$large" 90
[ "$(starts "flex-pretrain-$large.out")" -eq 2 ] || fail "the large run: $(starts "flex-pretrain-$large.out") starts, not 2"
for reynolds in 100 150; do says "flex-pretrain-$large.out" "^FC +$reynolds +[0-9]"; done
[ -s large/run/report.html ] || fail "no report"
[ "$(grep -c '^pack: .* patches of ' "flex-pretrain-$large.out")" -eq 2 ] || fail "data not packed once each"

completes "$plot" 60
[ "$(cut -d , -f 1-4 sweep/scaling.csv | tr '\n' ' ')" = \
    "mode,ranks,nodes,global_batch weak,2,1,4 weak,4,2,8 strong,2,1,4 strong,4,2,4 " ] || fail "points: $(cat sweep/scaling.csv)"
/usr/bin/python3 - <<'PY' || fail "the plot: $(cat sweep/scaling.csv)"
import csv
import re
import xml.etree.ElementTree as xml

paths = list(xml.parse("sweep/scaling.svg").iter())
dots = [[tuple(map(float, p)) for p in re.findall(r"M([\d.]+) ([\d.]+)h0", e.get("d"))] for e in paths if "dots" in e.get("class", "")]
assert [len(d) for d in dots] == [2, 2], dots
assert [e.get("d").count("V") for e in paths if "bars" in e.get("class", "")] == [2, 2], "error bars"
height = [100 * float(r["efficiency"]) for r in csv.DictReader(open("sweep/scaling.csv"))]  # weak, weak, strong, strong
(x, top), (far, weak), first, (other, strong) = dots[0] + dots[1]
assert first == (x, top) and far == other > x and height[0] == height[2] == 100, dots
assert abs((weak - top) * (height[3] - 100) - (strong - top) * (height[1] - 100)) <= 0.1 * (abs(height[1] - 100) + abs(height[3] - 100)), dots
PY

# ---- Nodes' own disks (here /dev/shm): what a job has staged the next one finds, and where slots keep their strata a node
# needs its slots' shards alone.
submit --nodes=2 --nodelist=n0,n3 jobs/stage.sbatch pack /dev/shm/packs
completes "$job" 30
says "flex-stage-$job.out" '^staged on 2 of 2 nodes: of 8 shards each, [0-8] copied in all and (8|16) there already'
kept=(--set train.steps=2 --set train.global_batch=8 --set data.keep_strata=true)
submit --nodes=2 jobs/train-multi.sbatch tiny.yaml few "${kept[@]}" --set data.stage=/dev/shm/few
few=$job
submit --nodes=2 jobs/train-multi.sbatch tiny.yaml unstaged "${kept[@]}"
completes "$few" 60
completes "$job" 60
copied=$(sed -n 's/^staged on 2 of 2 nodes: of 8 shards each, \([0-9]*\) copied.*/\1/p' "flex-train-$few.out")
[[ $copied =~ ^([89]|1[0-5])$ ]] || fail "$copied shards on two nodes that need a part of 8 each"
same_run unstaged few

# ---- On one node, as jobscript prints it.
expect 0 "$FLEXHPC" jobscript tiny.yaml --site ./site.env --time 00:10:00 --set train.steps=2 --run printed
cp out printed.sbatch
sbatch --wait printed.sbatch --set checkpoint.every=1 >out 2>err || fail "the printed script: $(cat flex-train-*.out)"
[ "$(cat printed/ckpt/latest)" = step-00000002.h5 ] || fail "the printed script trained elsewhere"
grep -qE ' 2 ranks .*--time-limit (10:00|9:[0-9][0-9])@[0-9]{10} ' printed/cmd.txt || fail "its time limit: $(cat printed/cmd.txt)"
submit jobs/eval.sbatch tiny.yaml printed --set eval.patches=2
eval=$job

# ---- A study in two jobs of an array, as jobscript prints it: two runs, and one table.
expect 0 "$FLEXHPC" jobscript tiny.yaml --site ./site.env --time 00:10:00 --study seeds --run pool --set train.steps=2 \
    --set study.heldout=pack --set eval.patches=2
cp out study.sbatch
sbatch --wait --array=1-2 study.sbatch --ranks 1 >out 2>err || fail "the study: $(cat flex-study-*.out)"
[ "$(grep -l ': training flex-s[12] from step 0 to 2$' flex-study-*_[12].out | wc -l)" -eq 2 ] || fail "not a run a job"
says pool/seeds/table.md '^- SR: RFNE .* over 2 seeds'
completes "$eval" 30

# ---- Ranks that don't know of each other.
code=0
srun -n 2 --mpi=none flexhpc info >out 2>err || code=$?
[ "$code" -eq 1 ] || fail "without PMIx: exit code $code"
[ "$(our_lines)" = "flexhpc: Slurm has 2 tasks here, but each of them sees one rank of MPI: use srun --mpi=pmix or mpirun (srun -n 1 for one rank)" ] ||
    fail "without PMIx: $(cat err)"
echo "the scripts of jobs/ run on Slurm"
