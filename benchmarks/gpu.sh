#!/usr/bin/env bash
# gpu.sh [OPTIONS]: from inside a pack (tests/gpu/pack.sh), on a machine with a GPU and PyTorch: benchmarks/gpu.py with the
# pack's program and libraries. Results go to OUT [./out].
set -eu
# shellcheck source=tests/gpu/env.sh
source "$(dirname "$0")/env.sh"
exec python3 "$here/gpu.py" --program "$here/bin/flexhpc" --configs "$here/configs" --peer "$here/peers/torch_gpu.py" \
    --commit "$(cat "$here/commit")" --out "$OUT" "$@"
