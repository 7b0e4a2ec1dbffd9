#!/usr/bin/env bash
# The command lines, file names and last lines that scripts rely on, at the smallest size: generate, pack, train, verify,
# checkpoint, config, and how options are read.
# Planted and caught: the last time of generate left out; the file's snapshots winning over --t-end; settings not compared,
# or all taken for free; every file counted as agreeing; the file of --resume not read; an origin that is no comment; data_wait
# under another name; --key=value that takes the next word too; an option taken for a value; at most 64 files; NaN kept; cmd.txt
# written anew; secrets of the environment told; lines instead of one line on a terminal; a checkpoint gone back to.
# Run: label full
# Run: timeout 300
# Run: cost 12
# shellcheck source=tests/fault/tiny.sh
source "$FX_TESTS_DIR/fault/tiny.sh"

# ---- generate: flags alone, one file a Reynolds number, the last time included.
expect 0 "$FLEXHPC" generate --re 100,200 --size 64 --seed 2150 --t-start 0 --t-end 0.5 --dt-out 0.1 --out fields
[ "$(cd fields && echo *.h5)" = "100_64_64_seed_2150.h5 200_64_64_seed_2150.h5" ] || fail "files: $(ls fields)"
/usr/bin/python3 - <<'PY' || fail "w"
import h5py, numpy
w = h5py.File("fields/100_64_64_seed_2150.h5")["w"]
assert w.shape == (6, 64, 64) and w.dtype == numpy.float32, (w.shape, w.dtype)
PY
expect 2 "$FLEXHPC" generate --re 100 --t-end 0.25 --dt-out 0.1 --out fields
says err 'generate\.end: 0\.25 is not generate\.start'
printf 'generate: {path: fields, reynolds: [100], grid: 64, start: 0, interval: 0.1, snapshots: 4}\n' >fields.yaml
expect 0 "$FLEXHPC" generate fields.yaml --out later --t-end 0.2
/usr/bin/python3 -c 'import h5py; assert len(h5py.File("later/100_64_64_seed_2150.h5")["w"]) == 3' || fail "--t-end after a file"
expect 2 "$FLEXHPC" generate --re 100
says err 'generate\.path: .*--out DIR'

# ---- pack: named files, and those of a configuration.
expect 0 "$FLEXHPC" pack fields/*.h5 --out=pack --patch 16 --set pack.strata=4
printf 'pack: {source: fields, path: again, patch: 16, strata: 4}\n' >pack.yaml
expect 0 "$FLEXHPC" pack pack.yaml
diff -r -x run.lock pack again >out || fail "the two ways differ"
mapfile -t many < <(for _ in {1..100}; do echo fields/100_64_64_seed_2150.h5; done)
expect 1 "$FLEXHPC" pack --out many --patch 16 "${many[@]}"
says err 'a second file of this name'
expect 2 "$FLEXHPC" pack fields/100_64_64_seed_2150.h5
says err 'pack\.path: .*--out DIR'

# ---- data info: of a file, of a pack, of a file with a NaN.
expect 0 "$FLEXHPC" data info fields/100_64_64_seed_2150.h5
says out '^format .*\(time, y, x\) = \(6, 64, 64\)$'
says out '^Re +100$'
says out '^time +0 to 0\.5 every 0\.1$'
/usr/bin/python3 - <<'PY' || fail "statistics"
import re, h5py, numpy
w = h5py.File("fields/100_64_64_seed_2150.h5")["w"][...].astype("f8")
said = re.search(r"(\d+) values from (\S+) to (\S+), mean (\S+), std (\S+)", open("out").read())
wanted = [w.size, w.min(), w.max(), w.mean(), w.std()]
assert numpy.allclose([float(x) for x in said.groups()], wanted, rtol=1e-4, atol=1e-5), (said.groups(), wanted)
half = float(re.search(r"enstrophy +(\S+) in", open("out").read())[1])
assert abs(half - 0.5 * (w[0] ** 2).mean()) < 1e-4 * half
PY
expect 0 "$FLEXHPC" data info pack
says out '^format +pack: 32 patches of 16 x 16 pixels'
says out '^Re 200 +16 patches: '
mkdir bad
cp fields/100_64_64_seed_2150.h5 bad/
/usr/bin/python3 -c 'import h5py; h5py.File("bad/100_64_64_seed_2150.h5", "r+")["w"][2, 3, 4] = float("nan")'
expect 0 "$FLEXHPC" data info bad/100_64_64_seed_2150.h5
says out '^ +1 not finite, the first at \(2, 3, 4\)$'
says out ' 24575 values from '
expect 0 "$FLEXHPC" data info pack/shard-0000.h5
says out ' float32 \(.*16, 16\): '
expect 1 "$FLEXHPC" data info nowhere.h5

# ---- train: files of a run, resume.
cat >tiny.yaml <<'YAML'
seed: 5
backend: cpu
model: {arch: flex, preset: custom, tasks: mt, channels: [32, 32], blocks: [1, 1], depth: 1, heads: 2, mlp_ratio: 1}
data: {path: pack, patch: 16, factor: 4}
train: {steps: 4, global_batch: 4, learning_rate: 1e-3, optimizer: adamw}
checkpoint: {every: 2}
YAML
export OMP_PLACES=cores OMP_SECRET_KEY=hush
expect 0 "$FLEXHPC" train tiny.yaml --run run
says out '^step 4/4  epoch [0-9.]+  loss [0-9.]+ \(SR [0-9.]+, FC [0-9.]+\)  norm [0-9.]+  lr [0-9.e-]+  [0-9.]+ samples/s  '
for file in config.yaml cmd.txt env.txt metrics.jsonl report.html ckpt/step-00000002.h5 ckpt/step-00000004.h5 ckpt/latest; do
    [ -s "run/$file" ] || fail "no run/$file"
done
[ "$(cat run/ckpt/latest)" = step-00000004.h5 ] || fail "latest: $(cat run/ckpt/latest)"
/usr/bin/python3 - <<'PY' || fail "metrics.jsonl"
import json
lines = [json.loads(line) for line in open("run/metrics.jsonl")]
assert [line["step"] for line in lines] == [1, 2, 3, 4], lines
wanted = {"step", "loss", "loss_sr", "loss_fc", "loss_contrastive", "lr", "grad_norm", "samples_per_s", "data_wait"}
assert all(wanted <= set(line) and line["schema"] == 1 for line in lines), wanted - set(lines[0])
PY
grep -q "^OMP_PLACES=cores$" run/env.txt || fail "env.txt: $(cat run/env.txt)"
grep -q "hush" run/env.txt && fail "env.txt tells a secret"
cp -r run must
expect 0 "$FLEXHPC" train tiny.yaml --run must --resume must
expect 2 "$FLEXHPC" train tiny.yaml --run new --resume must
says err 'no checkpoint to resume from'
expect 2 "$FLEXHPC" train tiny.yaml --run run --resume never
says err 'has checkpoints already'
expect 2 "$FLEXHPC" train tiny.yaml --run run --resume run/ckpt/step-00000002.h5
says err 'a checkpoint of step 4, later than run/ckpt/step-00000002\.h5'
expect 0 "$FLEXHPC" train tiny.yaml --run "it's" --resume run
says out '^resumed from run/ckpt/step-00000004\.h5'
expect 0 "$FLEXHPC" train tiny.yaml --run "it's"
says out "^resumed from it's/ckpt/step-00000004\.h5"
[ "$(grep -c "flexhpc train tiny\.yaml --run 'it'..'s'" "it's/cmd.txt")" -eq 2 ] || fail "cmd.txt: $(cat "it's/cmd.txt")"
expect 0 "$FLEXHPC" train tiny.yaml --run from --resume run/ckpt/step-00000002.h5
[ "$(wc -l <from/metrics.jsonl)" -eq 2 ] || fail "steps after --resume FILE: $(cat from/metrics.jsonl)"
expect 2 "$FLEXHPC" train tiny.yaml --run new --resume always
says err 'none of auto, never, must, and no checkpoint'
expect 0 "$FLEXHPC" report run
[ -s run/report.html ] || fail "no report"

# ---- On a terminal one line is written again and again; the last one stays.
/usr/bin/python3 -c 'import pty, sys; pty.spawn(sys.argv[1:])' "$FLEXHPC" train tiny.yaml --run shown --set train.steps=12 \
    --set run.log_every=100 </dev/null >out
/usr/bin/python3 - <<'PY' || fail "the terminal's line"
text = open("out", "rb").read()
assert text.count(b"\rstep ") >= 1 and text.count(b"\r\nstep") == 0, text
assert text.endswith(b"done\r\n") and text.count(b"\n") == 4, text
PY

# ---- sample: what xarray and h5py read.
expect 0 "$FLEXHPC" sample tiny.yaml --run run --out samples.h5 --set eval.patches=3 --set eval.batch=2
/usr/bin/python3 - <<'PY' || fail "samples"
import h5py, numpy
f, w = h5py.File("samples.h5"), h5py.File("fields/100_64_64_seed_2150.h5")["w"][...]
for name in (task + field for task in ("sr_", "fc_") for field in ("input", "model", "truth")):
    assert f[name].shape == (6, 16, 16) and [d.label or d[0].name for d in f[name].dims] == ["/sample", "/y", "/x"], name
assert list(f["reynolds"]) == [100] * 3 + [200] * 3
tiles = w.reshape(6, 4, 16, 4, 16).transpose(0, 1, 3, 2, 4).reshape(-1, 16, 16)
for truth in f["sr_truth"][:3]:
    assert abs(tiles - truth).max(axis=(1, 2)).min() < 1e-5 * abs(truth).max(), "a truth that is in no file"
assert numpy.array_equal(f["sr_truth"], f["fc_input"]) and not numpy.array_equal(f["sr_model"], f["sr_input"])
PY
expect 2 "$FLEXHPC" sample tiny.yaml --run run
says err 'sample: --out FILE'

# ---- export, import; flexhpc_io.py on whatever was written so far.
expect 0 "$FLEXHPC" export run weights.safetensors
says out '^weights\.safetensors$'
expect 0 "$FLEXHPC" import weights.safetensors --run imported
expect 0 "$FLEXHPC" sample tiny.yaml --run imported --out again.h5 --set eval.patches=3 --set eval.batch=2
PYTHONPATH=$FX_TESTS_DIR/../src/python /usr/bin/python3 - <<'PY' || fail "flexhpc_io"
import flexhpc_io as fx, numpy
field, shard = fx.tensors("fields/100_64_64_seed_2150.h5")["w"], fx.tensors("pack/shard-0000.h5")
assert field.shape == (6, 64, 64) and fx.attributes("fields/100_64_64_seed_2150.h5")["Re"] == 100
assert shard["w"].shape[1:] == (6, 16, 16), shard["w"].shape
assert fx.attributes("pack/shard-0000.h5")["source"].startswith("100_64_64_seed_2150"), fx.attributes("pack/shard-0000.h5")
averages, weights = fx.tensors(fx.latest("run"), "ema"), fx.tensors("weights.safetensors")
assert set(averages) < set(weights) and all(numpy.array_equal(averages[n], weights[n]) for n in averages)
assert fx.attributes("weights.safetensors")["step"] == "4" and fx.attributes(fx.latest("run"))["step"] == 4
first, second = fx.tensors("samples.h5"), fx.tensors("again.h5")
assert first and all(numpy.array_equal(first[n], second[n]) for n in first), "an imported model samples otherwise"
assert fx.metrics("run/metrics.jsonl")["step"].tolist() == [1, 2, 3, 4]
PY
expect 2 "$FLEXHPC" export run weights.safetensors --weights best
says err 'weights: best is none of ema, raw, both'
expect 1 "$FLEXHPC" export run nowhere/weights.safetensors
says err 'nowhere/weights\.safetensors\.part: open: No such file'
expect 2 "$FLEXHPC" export nowhere weights.safetensors
expect 2 "$FLEXHPC" import weights.safetensors
says err 'import: --run DIR'
expect 2 "$FLEXHPC" import weights.safetensors --run imported
says err 'has checkpoints already'
expect 1 "$FLEXHPC" import run/config.yaml run/config.yaml --run other
expect 2 "$FLEXHPC" train tiny.yaml --run imported
says err 'imported/ckpt/step-00000004\.h5: .*train\.init_from'

# ---- checkpoint.
expect 0 "$FLEXHPC" checkpoint compare run/ckpt/step-00000004.h5 from/ckpt/step-00000004.h5
says out '^bit-identical$'
expect 1 "$FLEXHPC" checkpoint compare run/ckpt/step-00000002.h5 run/ckpt/step-00000004.h5
says out '^value/.* [0-9.]+e-[0-9]+$'
says out '^step '
expect 0 "$FLEXHPC" train tiny.yaml --run other --set seed=6 --set train.steps=2
expect 1 "$FLEXHPC" checkpoint compare run/ckpt/step-00000002.h5 other/ckpt/step-00000002.h5
says out '^config +seed: 5 -> 6'
expect 0 "$FLEXHPC" checkpoint verify run/ckpt/step-00000002.h5 run/ckpt/step-00000004.h5
expect 1 "$FLEXHPC" checkpoint verify run/config.yaml

# ---- verify.
golden=$FX_TESTS_DIR/golden
expect 0 "$FLEXHPC" verify "$golden"/bicubic_a.h5 --backend cpu --precision fp32
[ "$(tail -n 1 out)" = "verify: 1 of 1 files agree" ] || fail "last line"
cp "$golden"/bicubic_a.h5 changed.h5
/usr/bin/python3 - <<'PY'
import h5py, numpy
with h5py.File("changed.h5", "r+") as f:
    names = []
    f.visititems(lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None)
    x = f[names[-1]][...]
    x.flat[abs(x).argmax()] *= -1
    f[names[-1]][...] = x
PY
expect 1 "$FLEXHPC" verify changed.h5 "$golden"/bicubic_a.h5
[ "$(tail -n 1 out)" = "verify: 1 of 2 files agree" ] || fail "last line"
says err 'changed\.h5'
expect 2 "$FLEXHPC" verify "$golden"/bicubic_a.h5 --precision fp8
expect 2 "$FLEXHPC" verify "$golden"/bicubic_a.h5 --backend cpu --precision tf32
says err 'precision: the CPU backend has fp32 and bf16, no tf32'

# ---- config.
expect 0 "$FLEXHPC" config show tiny.yaml --origin --set train.clip=2
says out '^seed: 5 +# tiny\.yaml:1$'
says out '^  clip: 2 +# command line$'
says out '^  beta2: 0\.999 +# follows from other keys$'
says out '^  warmup: 0 +# default$'
cp out origin.yaml
expect 0 "$FLEXHPC" config show tiny.yaml
cp out resolved.yaml
expect 0 "$FLEXHPC" config show resolved.yaml
cmp -s out resolved.yaml || fail "a shown configuration is shown otherwise"
expect 0 "$FLEXHPC" config show origin.yaml --set train.clip=1
cmp -s out resolved.yaml || fail "a configuration shown with its origins does not read back"
printf 'train:\n  stepz: 3\n' >wrong.yaml
expect 2 "$FLEXHPC" config show wrong.yaml
says err 'wrong\.yaml:2: train\.stepz: no such key; did you mean train\.steps\?'
expect 0 "$FLEXHPC" config keys
says out '^train\.global_batch '

# ---- Options.
for command in generate "data info" "data verify" pack train eval sample export import verify plan profile report status watch "config show" "config keys" info \
    "checkpoint verify" "checkpoint compare" jobscript; do
    # shellcheck disable=SC2086 # words of a command
    expect 0 "$FLEXHPC" $command --help
    says out "^usage: flexhpc $command"
done
expect 0 "$FLEXHPC" generate --help
says out '^  --size +N +grid of the solver a side \[generate\.grid; default 512; 16 \.\. 8192 points\]$'
expect 0 "$FLEXHPC" checkpoint -h
[ "$(wc -l <out)" -eq 2 ] || fail "not the two commands of checkpoint"
expect 0 "$FLEXHPC" help config show
says out '^usage: flexhpc config show '
expect 2 "$FLEXHPC" checkpoint comparre a b
says err 'did you mean checkpoint compare\?'
expect 2 "$FLEXHPC" checkpoint
says err 'a second word is needed'
expect 2 "$FLEXHPC" plan tiny.yaml --train.steps=3
says err 'set train\.steps=VALUE sets this key'
expect 0 "$FLEXHPC" plan --set train.global_batch=2 tiny.yaml --set=train.accumulate=2
expect 2 "$FLEXHPC" plan tiny.yaml more
says err 'one argument too many'
expect 2 "$FLEXHPC" train tiny.yaml --rum run
says err 'did you mean --run\?'
expect 2 "$FLEXHPC" trian
says err 'did you mean train\?'
expect 2 "$FLEXHPC" train tiny.yaml --run --resume auto
says err 'run needs a value, DIR'
expect 2 "$FLEXHPC" config show --origin=yes
says err 'takes no value'
echo "the command lines do what scripts rely on"
